"""asv's results: a benchmark for each combination of parameters, in the metric that its name says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.interchange.imports import enter_file
from bench.results.store import Store

COLUMNS = (
    *("result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"),
    *("stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile"),
)
STARTED_MS = 1_703_063_099_923
TIME = [[1.2], [], "f00", STARTED_MS, 38.6, [1.19], [1.21], [1.195], [1.205], [4], [6]]


def file_of(results: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a file as asv 0.6 writes it."""
    return {
        "commit_hash": "0d24f201cc2506de45a2ed688d9f72f7123d58f7",
        "env_name": "virtualenv-py3.12-numpy",
        "date": 1_703_000_000_000,
        "params": {
            "arch": "x86_64",
            "cpu": "Some CPU",
            "machine": "builder",
            "num_cpu": "8",
            "os": "Linux 6",
        },
        "python": "3.12",
        "requirements": {"numpy": "2.1"},
        "env_vars": {},
        "result_columns": list(COLUMNS),
        "results": results,
        "durations": {"<setup_cache benchmarks:48>": 1.5},
        "version": 2,
        **more,
    }


@pytest.fixture
def enter(tmp_path: Path):
    """Enter a file of these results; returns what was entered, and the store."""

    def entered(results: dict[str, Any], **more: Any):
        path = tmp_path / "0d24f201-virtualenv-py3.12-numpy.json"
        path.write_text(json.dumps(file_of(results, **more)))
        found = enter_file(path, tmp_path / "results")
        return found, Store.open(tmp_path / "results", create=False)

    return entered


def measured(store: Store, run_id: str) -> dict[str, Any]:
    """Return the measurements of a run by the benchmark and the metric."""
    labels = {stage.key: stage.label for stage in store.stages(run_id)}
    return {
        (labels[launch.stage_key], entry.metric): entry
        for launch in store.launch_records(run_id)
        for entry in launch.result.measurements
    }


def test_a_timing_has_asv_s_value_and_its_interval(enter) -> None:
    found, store = enter({"benchmarks.TimeSuite.time_sort": TIME})
    entry = measured(store, found.run_id)["benchmarks.TimeSuite.time_sort", "imported_s"]
    assert (entry.value, entry.low, entry.high, entry.n) == (1.2, 1.19, 1.21, 6)
    assert entry.method == "by asv, with its 99 % interval"
    assert store.run(found.run_id)["started_s"] == STARTED_MS / 1e3
    assert found.run_id.startswith("20231220-")


def test_each_combination_of_parameters_is_a_benchmark(enter) -> None:
    params = [["10", "1000"], ["'a'", "'b'"]]
    row = [[1.0, None, float("nan"), 4.0], params, "f00", STARTED_MS]
    found, store = enter({"b.time_sort": row})
    states = {stage.key: stage.label for stage in store.stages(found.run_id)}
    launches = {states[row.stage_key]: row for row in store.launches(found.run_id).itertuples()}
    assert list(launches) == ["b.time_sort(10, 'a')", "b.time_sort(10, 'b')", "b.time_sort(1000, 'b')"]
    assert launches["b.time_sort(10, 'b')"].state == "failed"
    assert "asv has no result" in launches["b.time_sort(10, 'b')"].reason


def test_samples_are_kept_and_give_the_interval(enter) -> None:
    samples = [[0.9, 1.0, 1.1, 1.0, 0.95, 1.05, 1.2]]
    row = [*TIME, samples]
    found, store = enter({"b.time_sort": row})
    entry = measured(store, found.run_id)["b.time_sort", "imported_s"]
    assert entry.samples == tuple(samples[0]) and entry.value == 1.0 and entry.low == 0.9


def test_the_name_says_what_is_measured(enter) -> None:
    names = ("b.peakmem_all", "b.MemSuite.mem_list", "b.track_loss", "b.timeraw_import", "b.PeakMemAll")
    found, store = enter({**{name: [[2.0], []] for name in names}, "b.whatever": [[1.0], []]})
    assert {(name.removeprefix("b."), metric) for name, metric in measured(store, found.run_id)} == {
        *(("peakmem_all", "peak_rss_bytes"), ("MemSuite.mem_list", "imported_bytes")),
        *(("track_loss", "imported_value"), ("timeraw_import", "imported_s")),
        ("PeakMemAll", "peak_rss_bytes"),
    }
    assert any("b.whatever: left out, its name does not say" in note for note in found.notes)


def test_infinite_ends_are_no_interval(enter) -> None:
    row = [[1.2], [], "f00", STARTED_MS, 1, [float("-inf")], [float("inf")]]
    found, store = enter({"b.time_sort": row})
    entry = measured(store, found.run_id)["b.time_sort", "imported_s"]
    assert (entry.low, entry.high, entry.method) == (None, None, "by asv")


def test_the_machine_the_libraries_and_the_commit_are_the_file_s(enter) -> None:
    found, store = enter({"b.time_sort": TIME})
    (environment,) = store.environments(found.run_id).values()
    assert environment["cpu"] == {"model": "Some CPU", "arch": "x86_64", "cores": "8"}
    assert environment["libraries"] == {"numpy": "2.1"} and environment["machine"] == "builder"
    assert environment["git"]["revision"].startswith("0d24f201")


@pytest.mark.parametrize(
    ("results", "more", "message"),
    [
        ({"b.time_a": TIME}, {"version": 1}, "its version must be 2, got 1; `asv update` upgrades it"),
        ({}, {}, "results: Dictionary should have at least 1 item"),
        ({"b.time_a": [[1.0, 2.0], []]}, {}, "b.time_a: result must have 1 entries"),
        ({"b.time_a": [["x"], []]}, {}, "b.time_a: its result must be a number, got 'x'"),
        ({"b.time_a": [[10**400], []]}, {}, "b.time_a: its result must be a number, got 1000"),
        ({"b.time_a": [[1.0], "x"]}, {}, "b.time_a: its params must be lists of values"),
        ({"b.time_a": [*TIME, [["x"]]]}, {}, "b.time_a: its samples must be a list of numbers"),
        ({"b.time_a": [[1.0] * 9, [["1"] * 999] * 3]}, {}, "has more than 100,000 combinations"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(enter, results, more, message) -> None:
    with pytest.raises(BenchError, match="not a file of asv: ") as refused:
        enter(results, **more)
    assert message in str(refused.value) and "\n" not in str(refused.value)
