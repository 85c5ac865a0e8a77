"""`bench clean` removes what nobody needs, all of it and nothing else, and says how much that is."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.commands.clean import Run, choose_kept
from bench.records import Measurement, PlannedRequest, Result
from bench.results import artifacts
from bench.results.folder import alone_in
from bench.results.store import StageRow, Store

SHARED, OLD, NEW = "aa" * 32, "bb" * 32, "cc" * 32
FIRST, SECOND = "20260101-000001-ci", "20260101-000002-ci"


def add_run(
    results: Path,
    run_id: str,
    keys: tuple[str, ...],
    *,
    finished: bool = True,
    smoke: bool = False,
    samples: int = 2,
    url: str = "",
) -> None:
    """Enter a run that used the artifacts of these keys, with its report."""
    store = Store.open(results, url)
    stages = [StageRow(key, "lower", "net", False, (), PlannedRequest()) for key in keys]
    store.start_run(run_id, run_id, "ci", "bench run", {"smoke": smoke}, stages, [])
    for stage in stages:
        key = stage.key
        if artifacts.read_record(results, key) is None:
            with artifacts.writing(results, key) as folder:
                (folder / "weights").write_bytes(b"same in each" * 100)
                (folder / "own").write_text(key)
                artifacts.publish(folder, results, key, artifacts.Making(kind="lower", label="net"))
        entry = artifacts.read_record(results, key)
        assert entry is not None
        measured = (Measurement("latency_s", 0.5, samples=tuple(1 / (7 + n) for n in range(samples))),)
        result = Result("ok", measurements=measured, environment={"run": run_id}, artifact=entry.artifact)
        store.add_launch(run_id, stage, 0, result)
    if finished:
        store.finish_run(run_id)
    (results / run_id).mkdir()
    (results / run_id / "report.html").write_text("report")
    (results / run_id / "run.log").write_text("log")
    store.close()


@pytest.fixture
def results(tmp_path) -> Path:
    """Two runs: both used one artifact, each has one of its own; and what a killed run left."""
    add_run(tmp_path, FIRST, (SHARED, OLD))
    add_run(tmp_path, SECOND, (SHARED, NEW))
    for left in ("work", f"artifacts/dd/{'dd' * 32}.123.part", "cache/inductor"):
        (tmp_path / left).mkdir(parents=True)
        (tmp_path / left / "file").write_bytes(bytes(1000))
    return tmp_path


def files(results: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in results.rglob("*") if path.is_file()}


def disk_bytes(results: Path) -> int:
    """Return the bytes of all files, those with several names once."""
    found = {path.stat().st_ino: path.stat().st_size for path in results.rglob("*") if path.is_file()}
    return sum(found.values())


def told_bytes(pattern: str, output: str) -> int:
    found = re.search(pattern, output, re.MULTILINE)
    assert found, output
    return int(found[1].replace(",", ""))


def is_whole(results: Path) -> bool:
    with sqlite3.connect(results / "bench.sqlite") as connection:
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",) and not broken


def test_without_yes_it_only_shows(command, results):
    before = files(results)
    done = command("clean", "--keep", 1, "--results", results)
    assert done.returncode == 0, done.stderr
    for text in (
        f"report: {FIRST}",
        "artifact: lower net (bbbbbbbbbbbb)",
        "leftover: work",
        f"kept: {SECOND}",
    ):
        assert text in done.stdout
    assert NEW[:12] not in done.stdout and SHARED[:12] not in done.stdout
    assert told_bytes(r"^shared: ([\d,]+) bytes", done.stdout) == 2 * 1200
    after = files(results)
    after.pop(results / ".lock", None)
    assert after == before


def test_yes_removes_and_frees_to_the_byte_what_was_shown(command, results):
    shown = command("clean", "--keep", 1, "--results", results).stdout
    before = disk_bytes(results)
    done = command("clean", "--keep", 1, "--yes", "--results", results)
    freed = told_bytes(r"^freed: ([\d,]+) bytes", done.stdout)
    assert freed == before - disk_bytes(results)
    assert freed == told_bytes(r"^would free: ([\d,]+) bytes", shown) > 0
    assert sorted(path.name for path in results.iterdir()) == [
        ".lock",
        SECOND,
        "artifacts",
        "bench.sqlite",
        "cache",
    ]
    assert [folder.name for folder in artifacts.artifact_folders(results)] == [SHARED, NEW]
    assert all(artifacts.read_record(results, key) for key in (SHARED, NEW))
    assert len(list(artifacts.content_files(results))) == 3
    store = Store.open(results)
    assert store.runs()["id"].tolist() == [SECOND]
    assert len(store.measurements(SECOND)) == 2
    assert [content["run"] for content in store.environments(SECOND).values()] == [SECOND]
    with sqlite3.connect(results / "bench.sqlite") as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]
    assert counts == [1, 2], "what only the run that went had measured stays"
    again = command("clean", "--keep", 1, "--results", results).stdout
    assert told_bytes(r"^would free: ([\d,]+) bytes", again) == 0


TABLES = ("environments", "artifacts")
CACHE = "cache: cache/inductor"


def test_the_compile_cache_goes_with_what_was_compiled_unless_a_run_that_goes_on_needs_it(command, results):
    assert CACHE in command("clean", "--keep", 1, "--results", results).stdout
    assert CACHE not in command("clean", "--keep", 2, "--results", results).stdout, "nothing compiled goes"
    add_run(results, "20260101-000003-ci", (NEW,), finished=False)
    shown = command("clean", "--keep", 1, "--results", results).stdout
    assert "artifact: lower net (bbbbbbbbbbbb)" in shown and CACHE not in shown


def test_a_smoke_run_takes_no_real_runs_place(command, results):
    add_run(results, "20260101-000003-ci", (NEW,), smoke=True)
    shown = command("clean", "--keep", 1, "--results", results).stdout
    assert f"kept: {SECOND}, 20260101-000003-ci\n" in shown


def test_the_room_of_rows_that_go_is_given_back(command, results):
    add_run(results, "20260101-000003-ci", (NEW,), samples=20_000)
    add_run(results, "20260101-000004-ci", (NEW,))
    before = (results / "bench.sqlite").stat().st_size
    shown = command("clean", "--keep", 1, "--yes", "--results", results).stdout
    freed = told_bytes(r"^ *([\d,]+) bytes  rows of 3 runs in bench.sqlite", shown)
    assert freed == before - (results / "bench.sqlite").stat().st_size > 10_000


def test_a_run_that_a_baseline_names_stays(command, results):
    assert command("baseline", "save", "main", FIRST, "--results", results).returncode == 0
    done = command("clean", "--keep", 0, "--results", results)
    assert f"kept: {FIRST}\n" in done.stdout
    assert OLD[:12] not in done.stdout and NEW[:12] in done.stdout


def test_a_baseline_that_cannot_be_read_stops_it(command, results):
    (results / "baselines").mkdir()
    (results / "baselines" / "main.json").write_text("{")
    before = files(results)
    done = command("clean", "--yes", "--keep", 0, "--results", results)
    assert done.returncode == 2 and "main.json: not a baseline" in done.stderr
    assert before.items() <= files(results).items()


def test_it_refuses_while_a_run_is_at_work(bench, results):
    with alone_in(results):
        done = bench("clean", "--yes", "--results", results)
    assert done.returncode == 2
    assert "another run is using this folder" in done.stderr and len(done.stderr.splitlines()) == 1
    assert (results / "work").exists()


def test_what_is_not_the_suites_own_stays(command, results, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    kept = [
        results / name for name in ("notes.txt", "mine.part", "artifacts/mine", "artifacts/content/aa/mine")
    ]
    kept[-1].parent.mkdir(exist_ok=True)
    for place in (*kept, outside / "file", outside / SHARED):
        place.write_text("mine")
    (results / "work" / "link").symlink_to(outside)
    (results / "20250101-000000-ci").symlink_to(outside)
    assert command("clean", "--keep", 0, "--yes", "--results", results).returncode == 0
    assert all(place.read_text() == "mine" for place in (*kept, outside / "file", outside / SHARED))


def test_a_store_whose_run_id_is_a_path_is_refused_and_nothing_is_touched(bench, results, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    with sqlite3.connect(results / "bench.sqlite") as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        for table, column in (("runs", "id"), ("stages", "run_id"), ("launches", "run_id")):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (str(outside), FIRST))
    before = files(results)
    for command in (("clean", "--yes"), ("report",)):
        done = bench(*command, "--results", results)
        assert done.returncode == 2 and "damaged: runs.id" in done.stderr, done.stderr
    assert before.items() <= files(results).items()
    assert not any(outside.iterdir())


def test_killed_in_the_middle_it_leaves_a_whole_store_and_a_second_call_finishes(bench, results):
    torn = [results / "artifacts" / f"{number:02x}" / (f"{number:02x}" * 32) for number in range(4)]
    for folder in [*torn, results / "work" / "more"]:
        folder.mkdir(parents=True)
        for number in range(1000):
            (folder / str(number)).write_bytes(b"x")

    def rows() -> int:
        with sqlite3.connect(f"file:{results}/bench.sqlite?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])

    moments = {
        "left-overs": lambda: not (results / "work" / "more" / "500").exists(),
        "rows": lambda: rows() == 1,
        "files": lambda: not all(folder.exists() for folder in torn),
    }
    command = [sys.executable, "-m", "bench", "clean", "--keep", "1", "--yes", "--results", str(results)]
    for reached in moments.values():
        cleaning = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not reached() and cleaning.poll() is None:
            time.sleep(0.0005)
        cleaning.send_signal(signal.SIGKILL)
        cleaning.wait()
        assert is_whole(results)
        assert all(artifacts.read_record(results, key) for key in (SHARED, NEW))
    assert bench(*command[3:]).returncode == 0
    assert [folder.name for folder in artifacts.artifact_folders(results)] == [SHARED, NEW]
    assert Store.open(results).runs()["id"].tolist() == [SECOND]
    assert not (results / FIRST).exists() and not (results / "work").exists()


def run(
    name: str, *, finished: bool = True, matrix: str = "ci", smoke: bool = False, identity: str = ""
) -> Run:
    return Run(name, (matrix, smoke), identity or name, finished)


@pytest.mark.parametrize(
    ("runs", "keep", "kept"),
    [
        ([run(name) for name in "abcde"], 3, "cde"),
        ([run("a"), *(run(name, matrix="full") for name in "bcd")], 2, "acd"),
        ([run("a"), *(run(name, smoke=True) for name in "bcd")], 1, "ad"),
        ([run("a", finished=False), *(run(name) for name in "bc")], 3, "abc"),
        ([run("a", finished=False), *(run(name) for name in "bcd")], 3, "bcd"),
        ([run("a"), run("b", finished=False)], 0, "b"),
        ([run(name, finished=False, identity="same") for name in "ab"], 3, "b"),
        ([run("base"), *(run(name) for name in "bcd")], 1, ["base", "d"]),
    ],
    ids=[
        "the latest few",
        "of each matrix",
        "smoke runs do not take the place of real ones",
        "an unfinished one that its command goes on with",
        "but not one older than those kept",
        "whatever is asked for",
        "only the one that would be gone on with",
        "what a baseline names",
    ],
)
def test_runs_that_are_kept(runs, keep, kept):
    assert choose_kept(runs, {"base"}, keep) == list(kept)
