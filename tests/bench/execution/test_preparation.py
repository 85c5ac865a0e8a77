"""What a run is asked to be: which commands mean the same run, and what is told before it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import datasets
from bench.errors import BenchError, DataError
from bench.execution import preparation
from bench.execution.engines import engine as engines
from bench.execution.engines.engine import Node
from bench.execution.options import RunOptions
from bench.execution.preparation import Prepared, prepare
from bench.execution.resources import Resources
from bench.plan import keys
from bench.results.store import Store
from techniques.backends import hardware
from techniques.registry import Obstacle

AUTO = """
[train]
workload = "digits"
optimizer = "adam"

[infer]
compression = "none"
backend = "auto"
"""


@pytest.fixture
def prepared(tmp_path: Path):
    """Return a function that prepares the same matrix file, with auto, as a command anew would."""
    (tmp_path / "mine.toml").write_text(AUTO)

    def call(filter_text: str = "") -> Prepared:
        keys.device_kind.cache_clear()
        options = RunOptions(str(tmp_path / "mine.toml"), tmp_path / "results", filter_text)
        return prepare(options, fetch=False)

    yield call
    keys.device_kind.cache_clear()


def test_the_same_matrix_on_the_same_machine_is_the_same_run(prepared):
    assert prepared().identity == prepared().identity


def test_a_machine_where_another_backend_runs_makes_another_run_of_the_same_artifacts(prepared, monkeypatch):
    monkeypatch.setattr(hardware, "without_cpp_compiler", lambda: None)
    here = prepared()
    monkeypatch.setattr(hardware, "without_cpp_compiler", lambda: "requires a C++ compiler")
    there = prepared()
    assert there.identity != here.identity
    assert set(there.plan.stages) < set(here.plan.stages)


def test_another_cpu_makes_another_run_that_shares_nothing(prepared, monkeypatch):
    here = prepared()
    monkeypatch.setattr(keys, "kind_of_processor", lambda: "another CPU avx2")
    there = prepared()
    assert there.identity != here.identity
    assert set(there.plan.stages).isdisjoint(here.plan.stages)


def test_what_auto_leaves_out_is_a_note_of_the_run(prepared, monkeypatch):
    monkeypatch.setattr(hardware, "without_cpp_compiler", lambda: "requires a C++ compiler")
    note = '[infer] backend = "auto" leaves out cpu-inductor: requires a C++ compiler'
    assert note in prepared().notes
    assert note not in prepared("backend=cpu-eager").notes


class Cluster:
    """Stands in for an engine whose nodes have a C++ compiler and no ONNX Runtime."""

    def nodes(self) -> Sequence[Node]:
        return [Node("node-1", "kind", Resources((0, 1), 2**30))]

    def devices(self) -> dict[str, str]:
        return {"cpu": "cpu: the nodes'"}

    def obstacles(self) -> dict[str, Obstacle | None]:
        return {"cpu-inductor": None, "onnxruntime": Obstacle("requires the package onnxruntime")}

    def close(self) -> None: ...


class Replaced(Cluster):
    """One whose only node is lost just after it came, and comes back after some looks, or never."""

    def __init__(self, back: bool) -> None:
        self.back, self.looks, self.closed = back, 0, False

    def nodes(self) -> Sequence[Node]:
        self.looks += 1
        if self.looks > 2 and not self.back:
            raise BenchError("no node is left: its job ended; run the same command again to go on")
        return super().nodes() if self.looks > 2 else []

    def waiting_for(self) -> str:
        return "Slurm job 7, pending"

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], Replaced]:
    """Return a function that makes the next run's cluster such a one."""
    monkeypatch.setattr(engines, "_LOOK_AGAIN_S", 0.0)

    def make(back: bool) -> Replaced:
        cluster = Replaced(back)
        monkeypatch.setattr(preparation, "connect", lambda *_: cluster)
        return cluster

    return make


def test_a_node_that_is_lost_just_after_it_came_is_waited_for(
    prepared: Any, replaced: Callable[[bool], Replaced], tmp_path: Path
) -> None:
    cluster = replaced(True)
    said: list[str] = []
    found = prepare(RunOptions(str(tmp_path / "mine.toml"), tmp_path / "results"), say=said.append)
    assert [line for line in said if line.startswith("waiting")] == ["waiting for Slurm job 7, pending"]
    assert found.resources.cpus == (0, 1) and found.engine is cluster and not cluster.closed


def test_a_node_that_is_lost_just_after_it_came_and_does_not_come_back_ends_the_run_in_one_line(
    prepared: Any, replaced: Callable[[bool], Replaced], tmp_path: Path
) -> None:
    cluster = replaced(False)
    with pytest.raises(BenchError, match=r"^no node is left: its job ended; run the same command again"):
        prepare(RunOptions(str(tmp_path / "mine.toml"), tmp_path / "results"), say=lambda _: None)
    assert cluster.closed


def test_what_runs_on_a_cluster_is_told_by_its_nodes_and_forgotten_by_the_next_run(
    prepared, monkeypatch, tmp_path
):
    monkeypatch.setattr(hardware, "without_cpp_compiler", lambda: "requires a C++ compiler")
    monkeypatch.setattr(preparation, "connect", lambda *_: Cluster())
    options = RunOptions(str(tmp_path / "mine.toml"), tmp_path / "results")

    def backends(found: Prepared) -> set[str]:
        return {str(cell.axes["backend"]) for cell in found.plan.cells if not cell.skipped}

    here = backends(prepared())
    found = prepare(options, say=lambda _: None)
    assert backends(found) == (here | {"cpu-inductor"}) - {"onnxruntime"}
    assert '[infer] backend = "auto" leaves out onnxruntime: requires the package onnxruntime' in found.notes
    assert backends(prepared()) == here


def options_of(tmp_path: Path, fallback: str) -> RunOptions:
    """Return the options of a run of two workloads, one of which has its data in no place."""
    both = AUTO.replace('"digits"', '["fashion-mnist-simplecnn", "digits"]')
    (tmp_path / "mine.toml").write_text(both.replace('"auto"', '"cpu-eager"') + fallback)
    return RunOptions(str(tmp_path / "mine.toml"), tmp_path / "results")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Fashion-MNIST neither there nor to be fetched; what comes with packages stays."""
    fetch, locate = datasets.fetch, datasets.locate

    def fetch_or_fail(name: str, say: datasets.Say = print) -> Path:
        if name == "fashion-mnist":
            raise DataError("fashion-mnist cannot be had")
        return fetch(name, say)

    monkeypatch.setattr(datasets, "fetch", fetch_or_fail)
    monkeypatch.setattr(datasets, "locate", lambda name: None if name == "fashion-mnist" else locate(name))


FALLBACK = '[fallback]\nfashion-mnist-simplecnn = "breast-cancer-mlp"\n'


def test_a_workload_without_its_data_is_replaced_by_its_fallback_and_it_says_so(nowhere, tmp_path):
    found = prepare(options_of(tmp_path, FALLBACK))
    assert {cell.axes["workload"]: cell.skipped for cell in found.plan.cells} == {
        "breast-cancer-mlp": "",
        "digits": "",
    }
    note = "fashion-mnist-simplecnn is replaced by breast-cancer-mlp: its data is unavailable"
    assert note in found.notes


def test_a_workload_without_its_data_and_without_a_fallback_is_skipped_with_the_reason(nowhere, tmp_path):
    found = prepare(options_of(tmp_path, ""))
    assert {cell.axes["workload"]: cell.skipped for cell in found.plan.cells} == {
        "fashion-mnist-simplecnn": "fashion-mnist cannot be had",
        "digits": "",
    }
    assert not any("replaced" in note for note in found.notes)


def test_a_dry_run_fetches_nothing_replaces_nothing_and_says_what_a_run_will_fetch(nowhere, tmp_path):
    found = prepare(options_of(tmp_path, FALLBACK), fetch=False)
    assert {cell.axes["workload"] for cell in found.plan.cells} == {"fashion-mnist-simplecnn", "digits"}
    assert "fashion-mnist-simplecnn: data set fashion-mnist is missing; the run will fetch it" in found.notes
    assert not any("replaced" in note for note in found.notes)


def test_a_time_budget_of_the_command_stands_for_that_of_the_matrix(tmp_path: Path) -> None:
    options = replace(options_of(tmp_path, FALLBACK), filter="workload=digits")
    assert prepare(options).matrix.budget.budget_s is None
    limited = prepare(replace(options, budget_s=30.0))
    assert limited.matrix.budget.budget_s == 30.0
    assert "--budget-s 30 " in limited.options.command
    assert limited.identity != prepare(options).identity


PARTLY = """
[train]
workload = "digits"
optimizer = "adam"
backend = ["cpu-eager", "mps"]

[infer]
compression = "none"
backend = "cpu-eager"
"""


def test_a_shard_of_which_nothing_can_run_ends_well_and_can_be_merged(command, tmp_path):
    (tmp_path / "mine.toml").write_text(PARTLY)
    words = ("run", "--matrix", tmp_path / "mine.toml", "--shard", "2/2", "--results", tmp_path / "results")
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert "shard 2/2: no cell can run here: mps: requires macOS" in done.stderr
    done = command("merge", tmp_path / "results", "--into", tmp_path / "into")
    assert done.returncode == 0, done.stderr
    store = Store.open(tmp_path / "into", create=False)
    (cell,) = store.cells(store.find_run(None))
    assert cell.skipped.startswith("mps: requires macOS")


def test_what_auto_leaves_out_for_one_reason_is_one_note(prepared, monkeypatch):
    monkeypatch.setattr(hardware, "_nvidia_gpus", lambda: 0)
    monkeypatch.setattr(hardware, "_JETSON", Path("/nowhere"))
    (note,) = [note for note in prepared().notes if "requires an NVIDIA GPU" in note]
    assert "leaves out cuda-eager, cuda-inductor, cuda-graphs, tensorrt: requires" in note
