"""The store keeps what it was given, across processes, versions and mistakes."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.errors import StoreError
from bench.records import Artifact, Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store
from bench.results.store.documents import ADDED_AXES
from bench.results.store.schema import SCHEMA

STAGE = StageRow("a" * 64, "infer", "net @ cpu", True, (), PlannedRequest())
PREDICTION = {
    **{"wall_s": 1.0, "bound_s": 0.0, "disk": {}, "overheads": {}, "ended": 0, "reused": 0, "sources": {}},
    **{"costs": [], "stages": [], "seconds": []},
}
CELL = CellRow("net/adam/none@cpu", {"optimizer": "adam", **ADDED_AXES}, {"infer": STAGE.key})


@pytest.fixture
def store(tmp_path, store_url):
    """A store of either kind with a run in it."""
    store = with_a_run(tmp_path, store_url)
    yield store
    store.close()


@pytest.fixture
def file(tmp_path):
    """The same in a file."""
    return with_a_run(tmp_path)


def with_a_run(results: Path, url: str = "") -> Store:
    store = Store.open(results, url)
    store.start_run("run-1", "identity", "quick", "bench run", {"smoke": False}, [STAGE], [CELL])
    return store


def execute(store: Store, statement: str) -> list[tuple[object, ...]]:
    """Execute a statement of SQL behind the store's back; return its rows."""
    with store._engine.begin() as connection:
        done = connection.exec_driver_sql(statement)
        return [tuple(row) for row in done] if done.returns_rows else []


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


def test_a_new_process_sees_what_the_last_one_wrote(store, tmp_path, store_url):
    store.add_launch("run-1", STAGE, 0, launch(0.5))
    again = Store.open(tmp_path, store_url)
    assert again.launch_results("run-1") == [(STAGE.key, 0, "ok")]
    assert again.stages("run-1") == [STAGE]
    assert again.cells("run-1") == [replace(CELL, axes={**CELL.axes, **ADDED_AXES})]
    again.close()


def test_a_copied_store_file_is_whole(file, tmp_path):
    file.add_launch("run-1", STAGE, 0, launch(0.5))
    (tmp_path / "copy").mkdir()
    shutil.copy(file.path, tmp_path / "copy")
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
def test_a_spoiled_store_gets_one_line_with_what_to_do_and_is_left_as_it_is(bench, file, tmp_path, fault):
    file.close()
    SPOILED[fault](file.path)
    before = file.path.read_bytes()
    done = bench("clean", "--results", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    for text in (f"{file.path}: not a readable store ({fault})", "move it aside", "artifacts are safe"):
        assert text in done.stderr
    assert file.path.read_bytes() == before
    file.path.rename(tmp_path / "aside")
    Store.open(tmp_path).start_run("run-2", "identity", "quick", "bench run", {}, [STAGE], [CELL])


def test_damage_in_the_middle_gets_one_line_when_it_is_read(file):
    file.add_launch("run-1", STAGE, 0, launch(0.5))
    content = file.path.read_bytes()
    file.path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(StoreError, match=r"^[^\n]+truncated or damaged[^\n]+$"):
        Store.open(file.path.parent).measurements("run-1")


def test_a_schema_of_no_text_gets_one_line(file):
    file.close()
    content = file.path.read_bytes()
    file.path.write_bytes(content.replace(b"CREATE TABLE runs", b"CRE\x9dTE TABLE runs", 1))
    with pytest.raises(StoreError, match=r"^[^\n]+malformed database schema[^\n]+$"):
        Store.open(file.path.parent, create=False).runs()


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
    execute(store, "UPDATE runs SET started_s = 5 - number")
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
    rows = {name: execute(store, f"SELECT count(*) FROM {name}")[0][0] for name in SCHEMA.tables}
    assert rows.pop("meta") == 1
    assert not any(rows.values()), rows


def test_what_removing_runs_would_free_is_what_it_frees(file):
    file.start_run("run-2", "identity", "quick", "bench run", {}, [STAGE], [CELL])
    for round_ in range(200):
        file.add_launch("run-2", STAGE, round_, launch(0.5))
    size = file.path.stat().st_size
    expected = file.bytes_without(["run-2"])
    assert file.path.stat().st_size == size and len(file.runs()) == 2
    file.remove_runs(["run-2"])
    file.compact()
    assert file.path.stat().st_size == expected < size


def test_a_store_of_a_newer_version_is_refused(store, tmp_path, store_url):
    execute(store, "UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    with pytest.raises(StoreError, match="newer version"):
        Store.open(tmp_path, store_url)


def test_a_store_without_results_is_named(tmp_path, store_url):
    with pytest.raises(StoreError, match="no results yet"):
        Store.open(tmp_path, store_url, create=False)
    assert Store.find(tmp_path, store_url) is None and not list(tmp_path.iterdir())


def test_a_run_gets_another_id_where_its_own_is_taken(store):
    assert store.start_run("run-1", "other", "quick", "bench run", {}, [STAGE], [CELL]) == "run-1+"
    assert store.runs()["id"].tolist() == ["run-1", "run-1+"]


def test_any_text_and_number_comes_back_or_is_written_another_way(store):
    result = Result(
        "failed",
        reason="nul \0, half \udcff, é",
        output_tail="\n".join(["%s %(a)s :b ?", "'\"\\"]),
        measurements=(
            Measurement("latency_s", float("nan"), low=float("inf"), high=1e308, n=2**40, reason="\0"),
            Measurement("parameters", 3e12, samples=(float("nan"), 1e-300)),
        ),
        dynamic={"what": ["\0", float("nan")]},
        artifact=Artifact("f" * 64, 2**40, 1.0),
    )
    store.add_launch("run-1", STAGE, 0, result)
    row = store.launches("run-1").iloc[0]
    assert row["reason"].replace("\\x00", "\0") == "nul \0, half \\udcff, é"
    assert row["output_tail"] == result.output_tail and row["dynamic"]["what"][0] == "\0"
    first, second = store.measurements("run-1").to_dict("records")
    assert (first["n"], second["value"]) == (2**40, 3e12)
    assert all(first[name] is None or first[name] != first[name] for name in ("value", "low", "high"))
    assert second["samples"][1] == 1e-300
    assert store.artifact_bytes("run-1", [STAGE.key]) == {STAGE.key: 2**40}


def test_a_changed_plan_replaces_stages_and_adds_new_ones_last(store):
    changed = StageRow(STAGE.key, "infer", "other", True, (), PlannedRequest())
    new = StageRow("b" * 64, "infer", "new", True, (), PlannedRequest({"format": None}))
    store.change_plan("run-1", [new, changed], [CellRow(CELL.name, CELL.axes, {"infer": new.key})])
    assert store.stages("run-1") == [changed, new]
    assert store.cells("run-1")[0].stages == {"infer": new.key}


def test_the_history_of_costs_is_the_same_of_either_store(store):
    result = Result("ok", wall_s=2.0, measurements=(Measurement("step_latency_s", 0.1),))
    store.add_launch("run-1", STAGE, 0, replace(result, artifact=Artifact("f" * 64, 7, 1.0)))
    store.add_launch("run-1", STAGE, 1, result, reused=True)
    store.add_overhead("run-1", "report", 1.5)
    store.keep_prediction("run-1", {**PREDICTION, "wall_s": 3.0})
    store.finish_run("run-1")
    found = store.cost_history()
    assert [(cost.wall_s, cost.artifact_bytes, cost.launches) for cost in found.launches] == [(2.0, 7, 1)]
    assert found.launches[0].values == {"step_latency_s": 0.1} and found.launches_in_store == 2
    assert found.run is not None and found.run.overheads == {"report": 1.5}
    assert store.run("run-1")["request"]["prediction"]["wall_s"] == 3.0


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
