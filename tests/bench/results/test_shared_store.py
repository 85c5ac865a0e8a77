"""A store on a server: several folders write at once, none takes or removes what is another's."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.errors import StoreError
from bench.execution.options import RunOptions
from bench.records import Artifact, Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store, store, without_password
from bench.results.store.documents import ADDED_AXES
from tests.support.postgresql import database_of

STAGE = StageRow("a" * 64, "infer", "net @ cpu", True, (), PlannedRequest())
CELL = CellRow("net/adam/none@cpu", {"optimizer": "adam", **ADDED_AXES}, {"infer": STAGE.key})


def start(shared: Store, run_id: str = "run", stage: StageRow = STAGE) -> str:
    return shared.start_run(run_id, "identity", "quick", "bench run", {}, [stage], [CELL], host="here")


def launch(value: float, sha256: str = "f" * 64) -> Result:
    measurements = (Measurement("latency_s", value),)
    artifact = Artifact(sha256, int(value), 1.0)
    return Result(
        "ok", wall_s=value, measurements=measurements, environment={"cpu": "one"}, artifact=artifact
    )


@pytest.fixture
def two(tmp_path, server_url):
    """Two folders with a store in common."""
    stores = [Store.open(tmp_path / name, server_url) for name in ("first", "second")]
    yield stores
    for each in stores:
        each.close()


def test_a_run_is_resumed_in_its_own_folder_only(two):
    first, second = two
    start(first)
    assert first.unfinished_run("identity") == "run" and second.unfinished_run("identity") is None
    assert start(second) == "run+"
    assert first.find_run(None) == "run" and second.find_run(None) == "run+"


def test_a_folder_without_runs_reads_the_latest_of_all(two, server_url, tmp_path):
    start(two[0], "run-1")
    start(two[1], "run-2")
    reader = Store.open(tmp_path / "none", server_url, create=False)
    assert reader.find_run(None) == "run-2" and not (tmp_path / "none").exists()
    reader.close()


def test_the_id_of_a_folder_moves_with_it(two, server_url, tmp_path):
    start(two[0])
    two[0].close()
    (tmp_path / "first").rename(tmp_path / "moved")
    moved = Store.open(tmp_path / "moved", server_url)
    assert moved.unfinished_run("identity") == "run"
    moved.close()


def test_what_one_folder_made_says_nothing_of_anothers(two):
    first, second = two
    start(first), start(second)
    first.add_launch("run", STAGE, 0, launch(1.0, "a" * 64))
    second.add_launch("run+", STAGE, 0, launch(2.0, "b" * 64))
    assert (first.artifact_sha256(STAGE.key), second.artifact_sha256(STAGE.key)) == ("a" * 64, "b" * 64)
    assert first.artifact_bytes("run+", [STAGE.key]) == {STAGE.key: 2}
    for each, wall_s in ((first, 1.0), (second, 2.0)):
        history = each.cost_history()
        assert [cost.wall_s for cost in history.launches] == [wall_s]
        assert (history.launches[0].artifact_bytes, history.launches_in_store) == (int(wall_s), 1)


def test_removing_runs_of_one_folder_leaves_those_of_another_whole(two):
    first, second = two
    other = StageRow("b" * 64, "lower", "net", False, (), PlannedRequest())
    start(first, "run-1", other), start(second, "run-2", other)
    first.add_launch("run-1", other, 0, launch(1.0))
    second.add_launch("run-2", other, 0, launch(2.0))
    first.remove_runs(["run-1"])
    assert second.runs()["id"].tolist() == ["run-2"]
    assert first.artifact_sha256(other.key) is None and second.artifact_sha256(other.key)
    assert len(second.measurements("run-2")) == 1 == len(second.environments("run-2"))


def test_a_run_in_progress_is_not_resumed_by_another_runner_nor_removed(two, server_url, monkeypatch):
    monkeypatch.setattr(store, "HELD_S", 0.3)
    runner = two[0]
    start(runner)
    other = Store.open(runner.results, server_url)
    with pytest.raises(
        StoreError, match=r"^run run is in progress on here; wait until it ends, or use --fresh$"
    ):
        other.hold_run("run")
    with pytest.raises(StoreError, match="run run is in progress"):
        other.remove_runs(["run"])
    runner.close()
    other.hold_run("run")
    other.hold_run("run")
    other.remove_runs(["run"])
    other.close()


HOLD = """
import sys, time
from pathlib import Path
from bench.results.store import Store
from tests.bench.results.test_shared_store import start
store = Store.open(Path(sys.argv[1]), sys.argv[2])
start(store)
print("held", flush=True)
time.sleep(60)
"""


def test_the_run_of_a_killed_runner_can_be_resumed(tmp_path, server_url):
    words = [sys.executable, "-c", HOLD, str(tmp_path), server_url]
    runner = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None and runner.stdout.readline() == "held\n"
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    again = Store.open(tmp_path, server_url)
    again.hold_run("run")
    again.close()


def test_many_runners_at_once_lose_nothing_and_get_runs_of_their_own(tmp_path, server_url):
    def runner(number: int) -> str:
        own = Store.open(tmp_path / str(number), server_url)  # the first ones create the tables
        run_id = start(own)
        for round_ in range(20):
            own.add_launch(run_id, STAGE, round_, launch(1.0 + number))
        own.finish_run(run_id)
        own.close()
        return run_id

    with ThreadPoolExecutor(6) as pool:
        ids = list(pool.map(runner, range(6)))
    reader = Store.open(tmp_path, server_url, create=False)
    runs = reader.runs()
    assert sorted(runs["id"]) == sorted(ids) == sorted({"run" + "+" * extra for extra in range(6)})
    assert sorted(runs["number"]) == [1, 2, 3, 4, 5, 6]
    for number, run_id in enumerate(ids):
        assert [round_ for _, round_, _ in reader.launch_results(run_id)] == list(range(20))
        assert set(reader.measurements(run_id)["value"]) == {1.0 + number}
    reader.close()


def test_a_lost_connection_is_one_line_that_says_how_to_go_on_and_the_same_store_does(tmp_path, own_server):
    shared = Store.open(tmp_path, own_server.new_store())
    start(shared)
    shared.add_launch("run", STAGE, 0, launch(1.0))
    own_server.stop()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"^[^\n]+no connection[^\n]+the same command resumes run run$"):
            shared.add_launch("run", STAGE, 1, launch(1.0))
    own_server.start()
    shared.add_launch("run", STAGE, 1, launch(1.0))
    assert [round_ for _, round_, _ in shared.launch_results("run")] == [0, 1]
    other = Store.open(tmp_path, shared.url)
    assert not held_by(other, "run")  # the lock came back with the connection
    shared.close(), other.close()


def held_by(shared: Store, run_id: str) -> bool:
    with shared._transaction() as connection:
        return shared._database.hold(connection, run_id)


def test_a_runner_stops_where_another_has_resumed_its_run_meanwhile(
    tmp_path, server_url, postgresql, monkeypatch
):
    monkeypatch.setattr("bench.results.store.postgresql._HELD_S", 0.3)
    lost = Store.open(tmp_path, server_url)
    start(lost)
    postgresql.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()",
        database_of(server_url),
    )
    other = Store.open(tmp_path, server_url)
    other.hold_run("run")
    with pytest.raises(StoreError, match="no connection"):
        lost.add_launch("run", STAGE, 0, launch(1.0))
    with pytest.raises(StoreError, match="another runner has resumed it; this one stops"):
        lost.add_launch("run", STAGE, 0, launch(1.0))
    assert other.launch_results("run") == []
    other.close(), lost.close()


NO_CONNECTION = r"^postgresql://me@/db\?host=[^\n]+no connection"


def test_a_password_is_used_and_neither_shown_nor_kept(tmp_path, postgresql):
    strict_url = postgresql.new_strict_store()
    shared = Store.open(tmp_path, strict_url)
    options = RunOptions("quick", tmp_path, store=strict_url)
    shared.start_run("run", "i", "quick", options.command, {}, [STAGE], [CELL])
    for text in (options.command, repr(options), shared.name, shared.url, shared.run("run")["command"]):
        assert "s3cret" not in text
    assert shared.url in options.command and "strict@" in shared.url
    shared.close()
    with pytest.raises(StoreError, match=r"^postgresql://strict@[^\n]*password[^\n]*$") as failed:
        Store.open(tmp_path, strict_url.replace("s3cret", "wr0ng"))
    assert "wr0ng" not in str(failed.value)
    with pytest.raises(StoreError, match=r"^postgresql://strict@[^\n]*password[^\n]*$"):
        Store.open(tmp_path, without_password(strict_url))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("bench.sqlite", "must be a URL such as postgresql://USER@HOST/DATABASE"),
        ("mysql://me:s3cret@host/db", "got one of 'mysql'"),
        ("postgresql://me:s3cret@host", "the database is missing"),
        ("postgresql://me:s3cret@host:port/db", "must be a URL"),
        ("postgresql://me:s3cret@/db?host=/nowhere", r"^postgresql://me@/db\?host=[^\n]+no connection"),
        (
            "postgresql://me@/db?host=/nowhere&password=s3cret",
            r"^postgresql://me@/db\?host=[^\n]+no connection",
        ),
        ("postgresql://me@/db?host=/nowhere&nonsense=s3cret", "invalid connection option"),
    ],
)
def test_an_address_that_leads_nowhere_gets_one_line_without_the_password(tmp_path, address, message):
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match=message) as failed:
        Store.open(tmp_path, address)
    assert "\n" not in str(failed.value) and not list(tmp_path.iterdir())
    assert "s3cret" not in str(failed.value).replace("nonsense=s3cret", "")


def test_a_missing_driver_names_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'dl-efficiency-bench\[postgresql\]'"):
        Store.open(tmp_path, "postgresql://me@host/db")


def test_a_missing_database_and_one_of_another_encoding_are_refused(tmp_path, postgresql):
    with pytest.raises(StoreError, match='database "absent" does not exist'):
        Store.open(tmp_path, postgresql.url("absent"))
    postgresql.sql("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match="ENCODING 'UTF8', got LATIN1"):
        Store.open(tmp_path, postgresql.url("latin"))


def test_a_user_who_may_only_read_gets_one_line_on_writing(tmp_path, postgresql):
    strict_url = postgresql.new_strict_store()
    shared = Store.open(tmp_path, postgresql.url(database_of(strict_url)))
    start(shared)
    with shared._transaction() as connection:
        for what in ("USAGE ON SCHEMA bench", "SELECT ON ALL TABLES IN SCHEMA bench"):
            connection.exec_driver_sql(f"GRANT {what} TO strict")
    reader = Store.open(tmp_path, strict_url, create=False)
    assert reader.cells("run") == [CELL]
    with pytest.raises(StoreError, match=r"^[^\n]+this user may not do that[^\n]+$"):
        reader.add_launch("run", STAGE, 0, launch(1.0))
    shared.close(), reader.close()


def test_damage_gets_one_line_when_it_is_read(two):
    start(two[0])
    with two[0]._transaction() as connection:
        connection.exec_driver_sql("UPDATE runs SET request = '[1]'")
    with pytest.raises(StoreError, match=r"^postgresql://[^\n]+runs.request[^\n]+restore it from a backup$"):
        two[0].run("run")
    with two[0]._transaction() as connection:
        connection.exec_driver_sql("DROP TABLE overheads")
    with pytest.raises(StoreError, match=r"^[^\n]+not a readable store[^\n]+$"):
        two[0].overheads("run")


def test_a_file_that_is_no_folders_id_is_refused(tmp_path, server_url):
    (tmp_path / ".folder").write_text('"../elsewhere"')
    with pytest.raises(StoreError, match=r"\.folder: not the id of a results folder"):
        Store.open(tmp_path, server_url)
    (tmp_path / ".folder").unlink()
    (tmp_path / ".folder").symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="not a link"):
        Store.open(tmp_path, server_url)


def test_the_tables_are_in_a_schema_of_their_own(two, postgresql):
    database = database_of(two[0].url)
    rows = postgresql.sql("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'runs'", database)
    assert rows == [("bench",)]
