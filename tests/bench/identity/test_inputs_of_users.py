"""Whatever a user's workload draws in: editing it makes its stages again, editing anything else does not."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import linecache
import os
import random
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from bench.execution import worker
from bench.execution.job import request_of
from bench.execution.resources import Resources
from bench.identity.discovered import Recorder
from bench.identity.first_outputs import first_outputs, same_outputs
from bench.identity.loaded import load_and_note, loader
from bench.identity.places import Places
from bench.identity.reuse import Reuse, read_inputs
from bench.matrix.file import Budget
from bench.matrix.reading import read_matrix
from bench.plan.planner import Plan, make_plan
from bench.plugins import load_plugins
from bench.results.artifacts import artifact_folder
from bench.workloads.workload import Data, Workload
from techniques.optimizers import OPTIMIZERS
from tests.support.users_folders import CASES, Case, own, scale, write


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder of a user's, whose modules nothing has imported, and forget them afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("SCALE", "1")
    before, rows = set(sys.modules), dict(OPTIMIZERS.rows())
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    OPTIMIZERS._rows.clear()
    OPTIMIZERS._rows.update(rows)


def plan_of(case: Case, results: Path) -> Plan:
    """Plan the case as a new process does, which has imported nothing of the user's."""
    for name in [name for name, module in sys.modules.items() if _is_below(module, Path.cwd())]:
        del sys.modules[name]
    OPTIMIZERS._rows.pop("halved", None)
    plugins = load_plugins(map(Path, case.plugins))
    backend = "onnxruntime" if case.workload.startswith("onnx:") else "cpu-eager"
    Path("some.toml").write_text(
        f"[train]\nworkload = {json.dumps(case.workload)}\noptimizer = {json.dumps(case.optimizer)}\n"
        f'[infer]\ncompression = "none"\nbackend = "{backend}"\nbatch_size = 1\n[budget]\ntrain_steps = 2\n'
    )

    def load(settings: Mapping[str, Any]) -> MappingProxyType[str, str]:
        for name in [name for name, module in sys.modules.items() if _is_below(module, Path.cwd())]:
            del sys.modules[name]
        with Recorder(results, hears_files=False) as recorder:
            load_and_note(settings["workload"], settings["seed"], settings["test_samples"])
        return MappingProxyType(dict(recorder.loaded))

    plan = make_plan(read_matrix("some.toml"), 1, reuse=Reuse(results, load))
    assert plugins.keys() == {str(Path(name).resolve()) for name in case.plugins}
    return plan


def _is_below(module: object, folder: Path) -> bool:
    return str(getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}")


def train(plan: Plan, results: Path) -> str:
    """Carry out the plan's one training in this process; return its key."""
    (stage,) = plan.of_kind("train")
    budget, resources = Budget(timeout_s=600), Resources((0,), 2**34)
    request = request_of(stage, 0, (0,), results=results, resources=resources, budget=budget)
    result = worker.run(request)
    assert result.state == "ok", result.reason
    return stage.key


@pytest.mark.parametrize("name", CASES)
def test_what_a_training_drew_in_decides_whether_it_is_made_again(name: str, here: Path) -> None:
    case, results = CASES[name], here / "results"
    case.files()
    before = train(plan_of(case, results), results)
    assert [stage.key for stage in plan_of(case, results).of_kind("train")] == [before]
    for edit in case.does_not.values():
        edit()
        assert [stage.key for stage in plan_of(case, results).of_kind("train")] == [before]
    for edited, edit in case.matters.items():
        case.files()
        assert [stage.key for stage in plan_of(case, results).of_kind("train")] == [before]
        edit()
        plan = plan_of(case, results)
        (key,) = (stage.key for stage in plan.of_kind("train"))
        assert key != before and list(plan.again) == [key]
        if "." in edited or edited.startswith("the "):
            assert plan.again[key].startswith(edited) and plan.again[key].endswith(" changed")
        lowered = {stage.request.parents["model"] for stage in plan.of_kind("lower")}
        assert lowered == {key}


def test_outputs_are_the_same_but_for_their_last_digits() -> None:
    def told(values: list[float], tolerance: float = 1e-3) -> str:
        return json.dumps({"tolerance": tolerance, "count": len(values), "values": values})

    before = told([1.0, -20.0, 1e-9])
    assert same_outputs(before, told([1.005, -20.01, -1e-9]))
    assert not same_outputs(before, told([1.05, -20.0, 1e-9]))
    assert not same_outputs(before, told([1.0, -20.0])) and not same_outputs(before, "")


def test_a_model_that_answers_otherwise_each_time_is_known_by_what_it_holds(here: Path) -> None:
    class Random(torch.nn.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(batch) * random.random()

    ones = torch.ones(4, 3)
    data = Data(ones, torch.ones(4), ones, torch.ones(4))
    workload = Workload(lambda: data, lambda x: x, lambda: Random(3, 2), torch.nn.functional.mse_loss, None)
    assert not first_outputs(workload, data, Random(3, 2))
    assert not first_outputs(workload, data, torch.nn.Linear(4, 2))  # takes no such samples
    assert first_outputs(workload, data, torch.nn.Linear(3, 2))


def test_a_made_variant_is_taken_up_again_and_so_is_the_first(here: Path) -> None:
    case, results = CASES["own, module beside"], here / "results"
    case.files()
    first = train(plan_of(case, results), results)
    scale(2.0)()
    second = train(plan_of(case, results), results)
    plan = plan_of(case, results)
    assert second != first and not plan.again and next(iter(plan.stages)) == second
    scale(1.0)()
    assert next(iter(plan_of(case, results).stages)) == first


def test_what_the_stage_itself_wrote_or_only_passed_by_is_no_input(here: Path) -> None:
    results = here / "results"
    cache = "open('cache.txt', 'a').write('x'); open('cache.txt').read()"
    write("mine.py", own("import numpy, psutil", cache))()
    key = train(plan_of(CASES["own, its file"], results), results)
    inputs = read_inputs(artifact_folder(results, key))
    assert inputs is not None
    assert list(inputs.files) == ["mine.py"] and not inputs.folders
    assert {"numpy", "psutil"} <= set(inputs.packages)
    assert sorted(inputs.loaded) == [
        f"the {what} of own:mine.py:make,train_steps=2" for what in ("data", "model", "outputs")
    ]


@pytest.mark.parametrize("library", ["importlib.metadata", "importlib_metadata"])  # the second patches
def test_lines_printed_and_packages_looked_up_are_no_inputs(library: str, here: Path) -> None:
    metadata = pytest.importorskip(library)
    write("printed_lines.py", "def fails():\n    raise ValueError\n")()
    write("mine.egg-info/METADATA", "Name: mine\nVersion: 1.0\n")()
    write("mine.egg-info/entry_points.txt", "[things]\nthing = mine:fails\n")()
    write("beside.txt", "1")()
    sys.path.append(str(here))
    import printed_lines  # type: ignore[import-not-found]

    with Recorder(here / "results") as recorder:
        try:
            printed_lines.fails()
        except ValueError:
            linecache.clearcache()
            assert "raise ValueError" in traceback.format_exc()
        assert metadata.version("mine") == importlib.metadata.version("mine") == "1.0"
        metadata.entry_points(group="things")
        Path("beside.txt").read_text()
    assert list(recorder.inputs().files) == ["beside.txt"] and not recorder.inputs().folders


@pytest.mark.parametrize("place", ["/dev/shm", "/usr/src", "/run/media"])
def test_a_project_below_a_folder_of_the_system_has_its_own_inputs(
    place: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Path(place, "some-project", "src")
    monkeypatch.setattr(sys, "path", [str(project), *sys.path])
    places = Places(here / "results")
    for name in ("mydata.py", "data/scale.json"):
        assert places.counts(str(project / name)) is (place != "/dev/shm")  # where what is gone has passed by
    if place == "/dev/shm" and os.access(place, os.W_OK):
        with TemporaryDirectory(dir=place) as folder:
            write(f"{folder}/mydata.py", "SCALE = 1.0")()
            assert places.counts(f"{folder}/mydata.py")


def test_a_folder_that_holds_parts_of_the_system_makes_them_no_inputs(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["/", "/usr", "/etc", *sys.path])
    monkeypatch.chdir("/")
    places = Places(here / "results")
    system = ("/etc/hosts", "/proc/meminfo", "/usr/lib/any.so", "/dev/null", np.__file__, os.__file__)
    assert not any(map(places.counts, system))


def test_children_that_a_stage_forks_are_heard(here: Path) -> None:
    write("beside.txt", "1")()
    with Recorder(here / "results") as recorder:
        child = os.fork()
        if child == 0:
            Path("beside.txt").read_text()
            os._exit(0)
        os.waitpid(child, 0)
    assert list(recorder.inputs().files) == ["beside.txt"]


def test_what_another_program_or_a_library_of_c_is_told_of_is_an_input(here: Path) -> None:
    for name in ("listed.txt", "joined.txt", "lib.so", "sub/there.txt", "out.txt"):
        write(name, "1")()
    with Recorder(here / "results") as recorder:
        subprocess.run(["cat", "listed.txt", "--none", "gone.txt"], capture_output=True)
        subprocess.run("cat <joined.txt >out.txt", shell=True)
        subprocess.run(["cat", "there.txt"], cwd="sub", capture_output=True)
        os.system("cat --other=joined.txt 2>/dev/null")
        with pytest.raises(OSError):
            ctypes.CDLL("./lib.so")
    found = recorder.inputs().files  # not what a program wrote
    assert sorted(found) == ["joined.txt", "lib.so", "listed.txt", "sub/there.txt"]
    assert not any(file.digest == "" for file in found.values())


def test_a_users_extension_module_is_an_input(here: Path) -> None:
    suffix = EXTENSION_SUFFIXES[0]
    shutil.copy(importlib.import_module("_json").__file__ or "", f"_json{suffix}")
    json_module = sys.modules.pop("_json")
    try:
        with Recorder(here / "results") as recorder:
            spec = importlib.util.spec_from_file_location("_json", here / f"_json{suffix}")
            assert spec is not None
            sys.modules["_json"] = importlib.util.module_from_spec(spec)
        assert list(recorder.inputs().files) == [f"_json{suffix}"]
    finally:
        sys.modules["_json"] = json_module


def test_a_file_that_was_looked_for_in_vain_is_an_input_too(here: Path) -> None:
    with Recorder(here / "results") as recorder:
        with pytest.raises(FileNotFoundError):
            Path("later.txt").read_text()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.gettempdir", lambda: "/nowhere")  # where nothing passes by
            assert recorder.inputs().files["later.txt"].digest == ""


def test_what_is_edited_while_a_stage_works_is_not_taken_for_what_it_read(here: Path) -> None:
    case, results = CASES["own, module beside"], here / "results"
    case.files()
    during = "import pathlib; pathlib.os.system('echo SCALE = 2.0 > mydata.py')"
    write("mine.py", own("import mydata", f"inputs = inputs * mydata.SCALE; {during}"))()
    first = train(plan_of(case, results), results)
    plan = plan_of(case, results)
    assert next(iter(plan.stages)) != first
    assert set(plan.again.values()) == {"mydata.py changed"}


def test_a_process_of_its_own_loads_what_the_plan_asks_for(here: Path) -> None:
    case = CASES["own, module beside"]
    case.files()
    settings = {"workload": case.workload, "seed": 0, "test_samples": None}
    said: list[str] = []
    load = loader(here / "results", (), said.append)
    found = load(settings)
    assert sorted(found) == [f"the {what} of {case.workload}" for what in ("data", "model", "outputs")]
    assert "loading mine.py:make" in said[0]
    assert load({**settings, "workload": "gone.py:make"}) == {}


def test_modules_beside_a_file_are_found_from_any_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from techniques.registry import load_reference

    for name, number in (("one", 1), ("two", 2)):
        write(f"{name}/mine.py", "import beside_mine\ndef make():\n    return beside_mine.NUMBER\n")()
        write(f"{name}/beside_mine.py", f"NUMBER = {number}\n")()
    monkeypatch.chdir("/")
    assert [load_reference(f"{here / name}/mine.py:make")() for name in ("one", "two")] == [1, 2]
