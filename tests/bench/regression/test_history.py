"""The history of a metric of a cell: runs that measured it, in series of one environment, with changes."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.regression.history import History, change_text, read_history
from bench.results.store import Store
from tests.support.histories import CELL, build_history, enter, revision
from tests.support.synthetic_run import ENVIRONMENT

pytest.importorskip("ruptures")

OTHER = {**ENVIRONMENT, "cpu": {"model": "Other CPU", "cores": 8}}


def noisy(level: np.ndarray, noise: float = 0.01) -> list[float]:
    return (0.001 * level * np.exp(noise * np.random.default_rng(2).standard_normal(len(level)))).tolist()


def read(folder: Path, metric: str = "latency_s", record: str = CELL, **options) -> History:
    with closing(Store.open(folder, create=False)) as store:
        return read_history(store, metric, record, **{"last": 200, **options})


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shifted")
    build_history(folder, noisy(np.where(np.arange(16) < 9, 1.0, 1.08)))
    return folder


def test_it_has_each_run_with_its_interval_commit_and_launches(shifted):
    history = read(shifted)
    points = history.series.points
    assert [point.run_id for point in points] == [f"run-{number:03d}" for number in range(16)]
    assert [point.revision for point in points] == [revision(number) for number in range(16)]
    assert all(point.value.low < point.value.value < point.value.high for point in points)
    assert {point.value.n for point in points} == {3}
    assert (history.stage, history.series.machine, history.matrix) == (
        *("infer digits/infer", "Test CPU"),
        "quick",
    )


def test_a_shift_is_found_and_said_with_the_runs_and_commits_around_it(shifted):
    history = read(shifted)
    (change,) = history.series.changes
    assert (change.kind, change.before, change.after) == ("shift", 8, 9)
    text = change_text("latency_s", change, history.series)
    places = [f"run-{number:03d} ({revision(number)[:7]})" for number in (8, 9)]
    assert f"worse from {' to '.join(places)}" in text and text.startswith("shift +")


def test_ten_commits_of_1_percent_are_one_drift(tmp_path):
    build_history(tmp_path, noisy(1.01 ** np.concatenate([np.zeros(8), np.arange(11)]), 0.006))
    history = read(tmp_path)
    (change,) = history.series.changes
    text = change_text("latency_s", change, history.series)
    assert text.startswith("drift +") and "neighbours differ by at most" in text
    assert 1.07 < change.ratio.value < 1.13


@pytest.mark.parametrize("record", [CELL, "infer digits/infer"])
def test_a_cell_and_its_stage_have_the_same_history(shifted, record):
    assert len(read(shifted, record=record).series.points) == 16


def test_a_stage_is_found_by_the_beginning_of_its_key(shifted):
    with closing(Store.open(shifted, create=False)) as store:
        key = store.runs_of_cell(CELL)["run-003"]["infer"]
    # Its source, and so its key, differs from run to run; kind and label do not.
    assert len(read(shifted, record=key[:10]).series.points) == 16


def test_runs_of_another_environment_are_a_series_of_their_own(tmp_path):
    with closing(Store.open(tmp_path)) as store:
        for number in range(9):
            enter(store, number, 0.001, environment=OTHER if number < 3 else ENVIRONMENT)
    history = read(tmp_path)
    assert [point.run_id for point in history.series.points] == [
        f"run-{number:03d}" for number in range(3, 9)
    ]
    (note,) = [note for note in history.notes if "another environment" in note]
    assert "3 runs" in note and "cpu differ" in note
    other = history.others[0]
    chosen = read(tmp_path, environment=other.fingerprint[:5])
    assert len(chosen.series.points) == 3 and chosen.series.machine.startswith("Other CPU")
    with pytest.raises(BenchError, match="no run of environment 'zzz'; known: "):
        read(tmp_path, environment="zzz")


def test_smoke_runs_are_left_out(tmp_path):
    with closing(Store.open(tmp_path)) as store:
        for number in range(4):
            enter(store, number, 0.001, smoke=number == 1)
    assert [point.run_id for point in read(tmp_path).series.points] == ["run-000", "run-002", "run-003"]


def test_only_the_latest_runs_are_read_where_asked(shifted):
    history = read(shifted, last=5)
    assert history.series.points[0].run_id == "run-011" and history.earlier == 11
    assert "11 earlier runs left out: the latest 5 are read" in history.notes
    assert "5 runs: change points need 6 or more" in history.notes


def test_exact_metrics_change_at_any_difference(tmp_path):
    build_history(tmp_path, [1e6, 1e6, 1.1e6], metric="peak_tensor_bytes")
    (change,) = read(tmp_path, "peak_tensor_bytes").series.changes
    assert (change.before, change.after, change.test) == (1, 2, "exact")


def test_a_launch_that_cannot_be_read_is_left_out(tmp_path):
    build_history(tmp_path, [0.001, 0.002])
    with closing(sqlite3.connect(tmp_path / "bench.sqlite")) as damaged:
        (launch,) = damaged.execute("SELECT max(id) FROM launches WHERE run_id = 'run-000'").fetchone()
        damaged.execute("UPDATE measurements SET low = 'wide' WHERE launch_id = ?", (launch,))
        damaged.commit()
    assert [point.value.n for point in read(tmp_path).series.points] == [2, 3]


@pytest.mark.parametrize(
    ("metric", "record", "message"),
    [
        ("latency_s", "digits/adm/none@cpu-eager", f"did you mean '{CELL}'"),
        ("latncy_s", CELL, "did you mean 'latency_s'"),
        ("latency_s", "evaluate digits/evaluate", "no run has 'latency_s'"),
        ("peak_rss_bytes", CELL, "name the stage: 'evaluate digits/evaluate' or 'infer digits/infer'"),
        ("latency_s", "infer nothing", "no run has a cell or stage 'infer nothing'"),
        ("latency_s[p]", CELL, "no run has 'latency_s[p]'"),
    ],
)
def test_a_wrong_name_is_one_clear_error(shifted, metric, record, message):
    with pytest.raises(BenchError) as caught:
        read(shifted, metric, record)
    assert message in str(caught.value)


def test_without_ruptures_the_runs_are_shown_and_a_note_says_what_to_install(shifted, monkeypatch):
    monkeypatch.setitem(sys.modules, "ruptures", None)
    history = read(shifted)
    assert len(history.series.points) == 16 and not history.series.changes
    assert any("pip install 'dl-efficiency-bench[history]'" in note for note in history.notes)


def test_json_has_plain_values(shifted):
    content = json.loads(json.dumps(read(shifted).to_json(), allow_nan=False))
    assert content["changes"][0]["before"] == "run-008" and len(content["runs"]) == 16
