"""A run as pytest-benchmark's JSON and back: read by its own command, and by github-action-benchmark."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.stats import Stats

from bench.errors import BenchError
from bench.interchange.exports import export_format
from bench.interchange.imports import enter_file
from bench.interchange.pytest_benchmark import NAME, render
from bench.interchange.rounds import statistics_of
from bench.records import Measurement, Result
from bench.results.store import Store
from tests.support.synthetic_run import ENVIRONMENT, Synthetic, build

MADE_UP = Synthetic(
    optimizers=("adam",),
    compressions=("none", "prune-magnitude:0.5", "int8-static"),
    invalid=("prune-magnitude:0.5@onnxruntime",),
    launches=6,
    environment={**ENVIRONMENT, "git": {"revision": "ab" * 20, "changed": True}, "python": "3.12.1"},
)
INFER = "digits/adam/none@cpu-eager"

ROUNDS = """
def test_sum(benchmark):
    benchmark.extra_info["dense_flops"] = 1000
    benchmark.extra_info["remark"] = "not a metric"
    benchmark.pedantic(lambda: sum(range(1000)), rounds=8, iterations=2)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build(tmp_path / "results", MADE_UP)


def exported(store: Store) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(render(store, "run-1").data)
    return content


def by_name(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in content["benchmarks"]}


@pytest.mark.parametrize("count", range(1, 14))
def test_statistics_are_those_of_pytest_benchmark(count: int) -> None:
    drawn = random.Random(count)
    data = [drawn.lognormvariate(0, 0.1) for _ in range(count)]
    theirs = Stats()
    theirs.data = list(data)
    found = statistics_of(data)
    for field in set(Stats.fields) - {"hd15iqr", "outliers"}:  # the first was wrong up to version 5.2
        assert found[field] == pytest.approx(getattr(theirs, field)), field
    assert found["outliers"] == theirs.outliers and found["data"] == data
    assert found["ld15iqr"] <= found["hd15iqr"] <= found["max"]


def test_each_cell_has_the_medians_of_its_launches_as_rounds(store: Store) -> None:
    found = by_name(exported(store))[INFER]
    medians = store.launch_values("run-1", found["extra_info"]["bench"]["key"], "latency_s")
    assert found["stats"]["data"] == medians and found["stats"]["rounds"] == 6
    assert found["group"] == "infer" and found["fullname"] == f"quick::infer::{INFER}"


def test_flops_memory_and_quality_go_with_a_timing(store: Store) -> None:
    extra = by_name(exported(store))[INFER]["extra_info"]
    assert extra["dense_flops"] == 1e7 and extra["peak_rss_bytes"] == 4e8 and extra["accuracy"] == 0.94
    assert extra["bench"]["low"] <= extra["bench"]["high"] and extra["bench"]["rounds"] == "launches"


def test_a_step_of_training_is_there_once_for_all_cells_that_share_it(store: Store) -> None:
    steps = [entry for entry in exported(store)["benchmarks"] if entry["group"] == "step"]
    assert [entry["name"] for entry in steps] == ["step digits/adam"]
    assert steps[0]["extra_info"]["forward_flops"] == 1e9


def test_cells_that_are_skipped_or_invalid_are_left_out_and_named(store: Store) -> None:
    left_out = "\n".join(render(store, "run-1").notes)
    assert "int8-static@cpu-eager: skipped: cpu-eager has no kernel" in left_out
    assert "prune-magnitude:0.5@onnxruntime: INVALID" in left_out
    assert not {name for name in by_name(exported(store)) if "0.5@onnxruntime" in name}


def test_it_has_what_github_action_benchmark_reads(store: Store) -> None:
    content = exported(store)
    assert content["commit_info"]["id"] == "ab" * 20 and content["commit_info"]["dirty"] is True
    assert (
        content["datetime"].endswith("+00:00") and content["machine_info"]["cpu"]["brand_raw"] == "Test CPU"
    )
    for entry in content["benchmarks"]:
        assert isinstance(entry["fullname"], str)
        assert all(
            isinstance(entry["stats"][name], int | float) for name in ("ops", "stddev", "mean", "rounds")
        )


def test_its_own_command_compares_two_exported_runs(tmp_path: Path, store: Store) -> None:
    for name in ("0001_base.json", "0002_head.json"):
        (tmp_path / name).write_bytes(render(store, "run-1").data)
    done = compare(tmp_path / "0001_base.json", tmp_path / "0002_head.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert INFER in done.stdout and "0001_ba" in done.stdout and "0002_he" in done.stdout
    assert "Failed to load" not in done.stdout + done.stderr


def compare(*files: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pytest_benchmark", "compare", *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, check=False)


def test_the_command_writes_a_file_or_prints(command: Any, store: Store, tmp_path: Path) -> None:
    where = ("--results", store.results)
    written = command("export", "run-1", "--format", NAME, "--to", tmp_path / "out.json", *where)
    printed = command("export", *where)
    assert written.returncode == printed.returncode == 0
    assert json.loads(printed.stdout) == json.loads((tmp_path / "out.json").read_text())
    assert "left out: 2 cells: " in printed.stderr


def test_an_unknown_format_and_a_run_without_timings_are_refused_in_one_line(
    tmp_path: Path, store: Store
) -> None:
    with pytest.raises(BenchError, match="got 'pytest-benchmrak'; did you mean 'pytest-benchmark'"):
        export_format("pytest-benchmrak")
    smoke = build(tmp_path / "smoke", Synthetic(request={"smoke": True}))
    with pytest.raises(BenchError, match="run run-1 is a smoke run"):
        render(smoke, "run-1")
    failed = {"infer": Result("failed", "no"), "step": Result("failed", "no")}
    nothing = build(tmp_path / "failed", Synthetic(results=failed))
    with pytest.raises(BenchError, match="run run-1 has no timing to export"):
        render(nothing, "run-1")


def test_an_exported_run_comes_back_with_its_launches(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "out.json"
    file.write_bytes(render(store, "run-1").data)
    run_id = enter_file(file, tmp_path / "other").run_id
    other = Store.open(tmp_path / "other", create=False)
    (stage,) = [stage for stage in other.stages(run_id) if stage.label == f"quick::infer::{INFER}"]
    before = exported(store)
    assert other.launch_values(run_id, stage.key, "imported_s") == by_name(before)[INFER]["stats"]["data"]
    assert other.launch_values(run_id, stage.key, "dense_flops") == [1e7]
    again = json.loads(render(other, run_id).data)
    assert len(again["benchmarks"]) == len(before["benchmarks"])
    assert again["commit_info"]["id"] == before["commit_info"]["id"]
    assert again["datetime"] == before["datetime"]


@pytest.fixture(scope="module")
def real_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what pytest-benchmark itself writes."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "test_sum.py").write_text(ROUNDS)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--benchmark-json", "out.json"]
    # pytest-benchmark measures nothing in a process of pytest-xdist, which it knows by the environment.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(words, cwd=folder, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out.json"


def test_rounds_of_one_process_are_samples_of_one_launch(real_file: Path, tmp_path: Path) -> None:
    entered = enter_file(real_file, tmp_path)
    store = Store.open(tmp_path, create=False)
    (stage,) = store.stages(entered.run_id)
    (launch,) = store.launch_records(entered.run_id)
    data = json.loads(real_file.read_text())["benchmarks"][0]["stats"]["data"]
    timing = next(entry for entry in launch.result.measurements if entry.metric == "imported_s")
    assert timing.samples == tuple(data) and timing.n == 8
    assert timing.low is not None and timing.value is not None and timing.low <= timing.value
    assert (stage.kind, stage.label) == ("imported", "test_sum.py::test_sum")
    assert {entry.metric: entry.value for entry in launch.result.measurements}["dense_flops"] == 1000
    assert "come from one process each" in "\n".join(entered.notes)


def test_the_machine_is_the_file_s_own_without_its_momentary_clock(real_file: Path, tmp_path: Path) -> None:
    run_id = enter_file(real_file, tmp_path).run_id
    (environment,) = Store.open(tmp_path, create=False).environments(run_id).values()
    assert environment["imported_from"] == NAME and set(environment["cpu"]) <= {"model", "arch", "cores"}
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_file_without_rounds_keeps_their_median_and_says_so(real_file: Path, tmp_path: Path) -> None:
    content = json.loads(real_file.read_text())
    stats = content["benchmarks"][0]["stats"]
    del stats["data"]
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(content))
    entered = enter_file(path, tmp_path / "results")
    (launch,) = Store.open(tmp_path / "results", create=False).launch_records(entered.run_id)
    (timing,) = [entry for entry in launch.result.measurements if entry.metric == "imported_s"]
    assert timing == Measurement(
        "imported_s", stats["median"], n=8, method="median of rounds, by pytest-benchmark"
    )
    assert "have no rounds in the file" in entered.notes[0]
