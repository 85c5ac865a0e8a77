"""The store keeps what it was given, across processes, versions and mistakes."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

from bench.errors import StoreError
from bench.records import Measurement, Result
from bench.store import CellRow, StageRow, Store

STAGE = StageRow("a" * 64, "infer", "net @ cpu", True, (), {"settings": {}})
CELL = CellRow("net/adam/none@cpu", {"optimizer": "adam"}, {"infer": STAGE.key})


@pytest.fixture
def store(tmp_path):
    store = Store.open(tmp_path)
    store.start_run("run-1", "identity", "quick", "bench run", {"smoke": False}, [STAGE], [CELL])
    return store


def launch(value: float, state: str = "ok") -> Result:
    samples = (value, value * 1.1, value * 0.9)
    return Result(
        state,  # type: ignore[arg-type]
        measurements=(Measurement("latency_s", value, n=3, samples=samples),),
        environment={"cpu": "some"},
        artifact={"sha256": "f" * 64, "bytes": 3, "created_s": 1.0},
    )


def test_measurements_come_back_as_they_went_in_raw_samples_too(store):
    store.add_launch("run-1", STAGE.key, "infer", 0, launch(0.5))
    row = store.measurements("run-1").iloc[0]
    assert (row["metric"], row["value"], row["label"]) == ("latency_s", 0.5, "net @ cpu")
    assert row["samples"].tolist() == [0.5, 0.55, 0.45]
    assert store.artifact_sha256(STAGE.key) == "f" * 64
    assert list(store.environments("run-1").values()) == [{"cpu": "some"}]


def test_a_new_process_sees_what_the_last_one_wrote(store, tmp_path):
    store.add_launch("run-1", STAGE.key, "infer", 0, launch(0.5))
    again = Store.open(tmp_path)
    assert again.launch_results("run-1") == [(STAGE.key, 0, "ok")]
    assert again.stages("run-1") == [STAGE]
    assert again.cells("run-1") == [CELL]


def test_a_copied_store_file_is_whole(store, tmp_path):
    store.add_launch("run-1", STAGE.key, "infer", 0, launch(0.5))
    (tmp_path / "copy").mkdir()
    shutil.copy(store.path, tmp_path / "copy")
    assert len(Store.open(tmp_path / "copy").measurements("run-1")) == 1


def test_only_good_launches_count_towards_an_interval(store):
    store.add_launch("run-1", STAGE.key, "infer", 0, launch(0.5))
    store.add_launch("run-1", STAGE.key, "infer", 1, launch(9.0, "failed"))
    assert store.launch_values("run-1", STAGE.key, "latency_s") == [0.5]


def test_a_run_is_found_by_the_beginning_of_its_id_and_a_typo_is_named(store):
    assert store.find_run("run") == "run-1" == store.find_run(None)
    with pytest.raises(StoreError, match="did you mean 'run-1'"):
        store.find_run("ruin-1")


def test_an_unfinished_run_is_found_by_its_identity_until_it_ends(store):
    assert store.unfinished_run("identity") == "run-1"
    assert store.unfinished_run("another") is None
    store.finish_run("run-1")
    assert store.unfinished_run("identity") is None


def test_a_file_that_is_no_store_gets_one_line(tmp_path):
    (tmp_path / "bench.sqlite").write_text("not a database, but long enough to look like one" * 100)
    with pytest.raises(StoreError, match=r"^[^\n]+not a readable store[^\n]+$"):
        Store.open(tmp_path)


def test_a_store_of_a_newer_version_is_refused(store, tmp_path):
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    with pytest.raises(StoreError, match="newer version"):
        Store.open(tmp_path)


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(StoreError, match="no results yet"):
        Store.open(tmp_path, create=False)
