"""The store keeps what it was given, across processes, versions and mistakes."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.errors import StoreError
from bench.records import Artifact, Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store

STAGE = StageRow("a" * 64, "infer", "net @ cpu", True, (), PlannedRequest())
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
        artifact=Artifact("f" * 64, 3, 1.0),
    )


def test_measurements_come_back_as_they_went_in_raw_samples_too(store):
    store.add_launch("run-1", STAGE, 0, launch(0.5))
    row = store.measurements("run-1").iloc[0]
    assert (row["metric"], row["value"], row["label"]) == ("latency_s", 0.5, "net @ cpu")
    assert row["samples"].tolist() == [0.5, 0.55, 0.45]
    assert store.artifact_sha256(STAGE.key) == "f" * 64
    assert list(store.environments("run-1").values()) == [{"cpu": "some"}]


def test_a_new_process_sees_what_the_last_one_wrote(store, tmp_path):
    store.add_launch("run-1", STAGE, 0, launch(0.5))
    again = Store.open(tmp_path)
    assert again.launch_results("run-1") == [(STAGE.key, 0, "ok")]
    assert again.stages("run-1") == [STAGE]
    assert again.cells("run-1") == [CELL]


def test_a_copied_store_file_is_whole(store, tmp_path):
    store.add_launch("run-1", STAGE, 0, launch(0.5))
    (tmp_path / "copy").mkdir()
    shutil.copy(store.path, tmp_path / "copy")
    assert len(Store.open(tmp_path / "copy").measurements("run-1")) == 1


def test_only_good_launches_count_towards_an_interval(store):
    store.add_launch("run-1", STAGE, 0, launch(0.5))
    store.add_launch("run-1", STAGE, 1, launch(9.0, "failed"))
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


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title VARCHAR)")
    connection.close()


SPOILED = {
    "empty": lambda path: path.write_bytes(b""),
    "no database": lambda path: path.write_text("not a database, but long enough to look like one" * 100),
    "a database of something else": lambda path: (path.unlink(), other_database(path)),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "truncated or damaged": lambda path: path.write_bytes(path.read_bytes()[:8192]),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_a_spoiled_store_gets_one_line_with_what_to_do_and_is_left_as_it_is(bench, store, tmp_path, fault):
    store.close()
    SPOILED[fault](store.path)
    before = store.path.read_bytes()
    done = bench("clean", "--results", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    for text in (f"{store.path}: not a readable store ({fault})", "move it aside", "artifacts are safe"):
        assert text in done.stderr
    assert store.path.read_bytes() == before
    store.path.rename(tmp_path / "aside")
    Store.open(tmp_path).start_run("run-2", "identity", "quick", "bench run", {}, [STAGE], [CELL])


def test_damage_in_the_middle_gets_one_line_when_it_is_read(store):
    store.add_launch("run-1", STAGE, 0, launch(0.5))
    content = store.path.read_bytes()
    store.path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(StoreError, match=r"^[^\n]+truncated or damaged[^\n]+$"):
        Store.open(store.path.parent).measurements("run-1")


def test_a_launch_of_a_slower_machine_is_disturbed_also_where_only_a_later_one_shows_it(store):
    def timed(value: float, reference_s: float | None) -> Result:
        dynamic = {"disturbed": "", "reference_s": reference_s}
        return Result("ok", measurements=(Measurement("latency_s", value),), dynamic=dynamic)

    assert store.add_launch("run-1", STAGE, 0, timed(1.5, 130e-6)) == ""
    assert store.add_launch("run-1", STAGE, 1, timed(1.0, 100e-6)) == ""
    assert "40 % slower than at its best" in store.add_launch("run-1", STAGE, 2, timed(1.7, 140e-6))
    assert store.add_launch("run-1", STAGE, 3, timed(1.1, None)) == ""
    assert [bool(text) for text in store.launches("run-1")["disturbed"]] == [True, False, True, False]
    assert [bool(text) for text in store.measurements("run-1")["disturbed"]] == [True, False, True, False]
    assert store.launch_values("run-1", STAGE.key, "latency_s") == [1.0, 1.1]


def test_an_interruption_inside_the_store_stays_one_and_enters_nothing(store):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    sa.event.listen(store._engine, "do_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.add_launch("run-1", STAGE, 0, launch(0.5))
    sa.event.remove(store._engine, "do_execute", interrupt)
    assert store.launch_results("run-1") == []
    store.add_launch("run-1", STAGE, 0, launch(0.5))
    assert len(store.launch_results("run-1")) == 1


def test_the_latest_run_is_the_one_entered_last_though_the_clock_was_set_back(store):
    for run_id, identity in (("run-2", "identity"), ("run-3", "other")):
        store.start_run(run_id, identity, "quick", "bench run", {}, [STAGE], [CELL])
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE runs SET started_s = 5 - substr(id, 5)")
    assert store.find_run(None) == "run-3"
    assert store.unfinished_run("identity") == "run-2"
    assert store.runs()["id"].tolist() == ["run-1", "run-2", "run-3"]


def test_removed_runs_take_with_them_only_what_no_other_run_needs(store):
    other = StageRow("b" * 64, "lower", "net", False, (), PlannedRequest())
    store.start_run("run-2", "identity", "quick", "bench run", {}, [STAGE, other], [CELL])
    store.add_launch("run-1", STAGE, 0, launch(0.5))
    store.add_launch("run-2", STAGE, 0, launch(0.6))
    store.add_launch("run-2", other, 0, launch(0.7))
    store.add_overhead("run-2", "report", 1.0)
    kept = store.measurements("run-1")
    store.remove_runs(["run-2"])
    assert store.runs()["id"].tolist() == ["run-1"]
    assert store.measurements("run-1").drop(columns="samples").equals(kept.drop(columns="samples"))
    assert store.artifact_sha256(STAGE.key) and not store.artifact_sha256(other.key)
    store.remove_runs(["run-1"])
    with sqlite3.connect(store.path) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        rows = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    assert rows.pop("meta") == 1
    assert not any(rows.values()), rows


def test_what_removing_runs_would_free_is_what_it_frees(store):
    store.start_run("run-2", "identity", "quick", "bench run", {}, [STAGE], [CELL])
    for round_ in range(200):
        store.add_launch("run-2", STAGE, round_, launch(0.5))
    size = store.path.stat().st_size
    expected = store.bytes_without(["run-2"])
    assert store.path.stat().st_size == size and len(store.runs()) == 2
    store.remove_runs(["run-2"])
    store.compact()
    assert store.path.stat().st_size == expected < size


def test_a_store_of_a_newer_version_is_refused(store, tmp_path):
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    with pytest.raises(StoreError, match="newer version"):
        Store.open(tmp_path)


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(StoreError, match="no results yet"):
        Store.open(tmp_path, create=False)


def test_a_full_disk_loses_nothing_and_the_same_write_goes_on_once_there_is_space(small_disk):
    folder = small_disk(2**20)
    store = Store.open(folder)
    store.start_run("run-1", "identity", "quick", "bench run", {}, [STAGE], [CELL])
    filler = folder / "filler"
    with pytest.raises(OSError), filler.open("wb") as file:
        file.write(bytes(2**20))
    with pytest.raises(StoreError, match=r"^[^\n]+no space left; free some[^\n]+$"):
        for round_ in range(100):
            store.add_launch("run-1", STAGE, round_, launch(0.5))
    entered = store.launch_results("run-1")
    filler.unlink()
    store.add_launch("run-1", STAGE, len(entered), launch(0.5))
    assert Store.open(folder).launch_results("run-1") == [*entered, (STAGE.key, len(entered), "ok")]
