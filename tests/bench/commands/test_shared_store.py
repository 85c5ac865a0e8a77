"""Every command that reads or writes a store does so on a server too, by `--store` or `BENCH_STORE`."""

from __future__ import annotations

import pytest

from bench.commands.clean import remove, survey
from bench.results.store import Store
from tests.bench.commands.test_clean import NEW, OLD, SECOND, SHARED, add_run, files
from tests.support.synthetic_run import Synthetic, build

MADE_UP = Synthetic(optimizers=("adam",), compressions=("none", "finetune"), backends=("cpu-eager",))
CELL = "digits/adam/none@cpu-eager"
FIRST = "20260101-000001-ci"


@pytest.fixture
def url(server_url, tmp_path):
    """A store with a run of the folder `results`."""
    build(tmp_path / "results", MADE_UP, url=server_url).close()
    return server_url


def test_reports_records_and_baselines_are_the_same_of_either_store(command, url, tmp_path):
    shared, alone = tmp_path / "results", tmp_path / "alone"
    build(alone, MADE_UP).close()
    words = [("report",), ("show", CELL), ("baseline", "save", "b"), ("check", "--baseline", "b")]
    for line in words:
        of_file = command(*line, "--results", alone)
        of_server = command(*line, "--results", shared, "--store", url)
        assert of_server.returncode == of_file.returncode == 0, of_server.stderr
        assert plain(of_server.stdout, shared) == plain(of_file.stdout, alone)
    assert (shared / "run-1" / "tables" / "inference.parquet").is_file()
    assert not (shared / "bench.sqlite").exists()


def plain(text: str, results: object) -> list[str]:
    """Return the lines of an output that do not name the store."""
    lines = text.replace(str(results), "RESULTS").splitlines()
    return [line.partition(" --store ")[0] for line in lines if "environment " not in line]


def test_the_command_that_reproduces_a_cell_names_the_store(command, url, tmp_path):
    shown = command("show", CELL, "--results", tmp_path / "results", "--store", url).stdout
    assert f"--store '{Store.open(tmp_path / 'results', url).url}'" in shown


def test_the_environment_variable_stands_for_the_option(command, url, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_STORE", url)
    assert "run run-1" in command("show", CELL, "--results", tmp_path / "results").stdout
    assert "run run-1" in command("show", CELL, "--results", tmp_path / "colleagues").stdout
    done = command("show", CELL, "--results", tmp_path / "results", "--store", "nonsense")
    assert done.returncode == 2 and "must be a URL" in done.stderr


def test_a_run_of_another_folder_has_its_artifacts_there(command, url, tmp_path):
    done = command("profile", CELL, "--results", tmp_path / "colleagues", "--store", url)
    assert done.returncode == 2 and "give the folder that made it" in done.stderr


def test_a_dry_run_reads_the_store_and_leaves_the_folder_as_it_is(command, url, tmp_path):
    words = (
        "run",
        "--matrix",
        "ci",
        "--dry-run",
        "--results",
        tmp_path / "new",
        "--store",
        url,
    )
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "new").exists()


def test_a_server_that_is_away_gets_one_line_and_exit_code_2(command, tmp_path):
    pytest.importorskip("psycopg")
    away = f"postgresql://me:s3cret@/db?host={tmp_path}"
    for words in (
        ("report",),
        ("run", "--matrix", "ci"),
        ("run", "--matrix", "ci", "--dry-run"),
    ):
        done = command(*words, "--results", tmp_path / "results", "--store", away)
        assert done.returncode == 2, done.stderr
        last = done.stderr.splitlines()[-1]
        assert "no connection" in last and "s3cret" not in done.stderr
        assert "Traceback" not in done.stderr


def test_a_count_of_a_workload_needs_no_store_but_that_of_a_run_does(command, tmp_path):
    pytest.importorskip("psycopg")
    away = ("--results", tmp_path / "results", "--store", f"postgresql://me@/db?host={tmp_path}")
    counted = command("flops", "breast-cancer-mlp", *away)
    assert counted.returncode == 0 and "FLOPs" in counted.stdout, counted.stderr
    for words in (("flops", "a/cell"), ("flops", "breast-cancer-mlp", "--run", "r")):
        assert "no connection" in command(*words, *away).stderr


@pytest.fixture
def results(tmp_path, server_url):
    """A folder with a run in its own file and two on a server, where another folder has one too."""
    folder = tmp_path / "results"
    add_run(folder, "20260101-000000-ci", (OLD,))
    add_run(folder, FIRST, (SHARED, OLD), url=server_url)
    add_run(folder, SECOND, (SHARED, NEW), url=server_url)
    add_run(tmp_path / "other", "20260101-000003-ci", (SHARED, OLD, NEW), url=server_url)
    return folder


def test_cleaning_removes_only_what_no_run_of_either_store_needs(command, results, server_url):
    done = command("clean", "--keep", 1, "--yes", "--results", results, "--store", server_url)
    assert done.returncode == 0, done.stderr
    assert "rows of 1 run in postgresql://" in done.stdout and f"report: {FIRST}" in done.stdout
    store = Store.open(results, server_url)
    assert store.runs()["id"].tolist() == [SECOND, "20260101-000003-ci"]
    assert store.artifact_sha256(SHARED) and store.artifact_sha256(NEW)
    assert store.artifact_sha256(OLD) is None
    assert (results / "artifacts" / OLD[:2] / OLD).is_dir()  # the run in the file uses it
    assert (results / "20260101-000000-ci").is_dir() and not (results / FIRST).exists()
    other = Store.open(results.parent / "other", server_url)
    assert all(other.artifact_sha256(key) for key in (SHARED, OLD, NEW))
    assert len(other.measurements("20260101-000003-ci")) == 3
    store.close(), other.close()


def test_cleaning_without_naming_the_store_touches_nothing(command, results):
    before = files(results)
    done = command("clean", "--yes", "--results", results)
    assert done.returncode == 2 and "name that store with --store" in done.stderr
    after = files(results)
    after.pop(results / ".lock", None)
    assert after == before


def test_a_report_of_another_folders_run_stays(results, server_url):
    (results / "20260101-000003-ci").mkdir()
    store = Store.open(results, server_url)
    remove(store, results, survey(store, results, 0))
    assert (results / "20260101-000003-ci").is_dir()
    store.close()


def test_shards_in_a_shared_store_are_merged_there_by_folder_or_by_id(command, server_url, tmp_path):
    for number, optimizer in ((1, "adam"), (2, "momentum")):
        part = {"shard": {"number": number, "of": 2, "split": "abc"}}
        made_up = Synthetic(optimizers=(optimizer,), backends=("cpu-eager",), request=part)
        build(tmp_path / str(number), made_up, run_id=f"run-{number}", url=server_url).close()
    into = tmp_path / "into"
    done = command("merge", tmp_path / "1", "run-2", "--into", into, "--store", server_url)
    assert done.returncode == 0, done.stderr
    assert not (into / "bench.sqlite").exists() and len(list(into.glob("*-merged/report.md"))) == 1
    store = Store.open(into, server_url)
    merged = store.find_run(None)
    assert len(store.cells(merged)) == sum(len(store.cells(f"run-{number}")) for number in (1, 2))
    done = command("merge", "run-3", "run-2", "--into", into, "--store", server_url)
    assert done.returncode == 2 and "no run 'run-3'" in done.stderr


def test_a_folder_with_runs_in_its_file_alone_is_merged_into_a_shared_store(command, server_url, tmp_path):
    build(tmp_path / "file", MADE_UP, run_id="run-1").close()
    done = command("merge", tmp_path / "file", "--into", tmp_path / "into", "--store", server_url)
    assert done.returncode == 0, done.stderr
    assert len(Store.open(tmp_path / "into", server_url).runs()) == 1
