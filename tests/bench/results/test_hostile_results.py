"""A results folder that came from somebody else: read in safety, or refused in one line, untouched."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.commands.clean import remove, survey
from bench.commands.show import show
from bench.errors import BenchError, StoreError
from bench.execution.options import RunOptions
from bench.execution.preparation import prepare
from bench.metrics import METRICS
from bench.regression.baseline import baseline_runs, save
from bench.regression.verdict import check
from bench.results.artifacts import artifact_folder, content_files, read_record
from bench.results.folder import alone_in, check_writable, run_name
from bench.results.store import Store
from reports.write import write
from tests.support.synthetic_run import Synthetic, build

SMALL = Synthetic(optimizers=("adam",), compressions=("none",), backends=("onnxruntime",))
RUN = "20260101-000001-ci"


@pytest.fixture
def results(tmp_path) -> Path:
    build(tmp_path, SMALL, run_id=RUN).close()
    return tmp_path


def edit(results: Path, *statements: str, values: tuple[object, ...] = ()) -> bytes:
    """Change the store behind its back; returns its bytes."""
    connection = sqlite3.connect(results / "bench.sqlite")
    connection.execute("PRAGMA foreign_keys=OFF")
    for statement in statements:
        for part in statement.split("; ") if not values and "TRIGGER" not in statement else [statement]:
            connection.execute(part, values)
    connection.commit()
    connection.close()
    return (results / "bench.sqlite").read_bytes()


def use(results: Path) -> None:
    """Read all that the commands read of a store."""
    store = Store.open(results, create=False)
    run = store.find_run(None)
    write(store, run, results / run)
    survey(store, results, 0)
    store.cost_history()
    for cell in store.cells(run):
        show(cell.name, run, results)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


EDITS: dict[str, str | tuple[str, tuple[object, ...]]] = {
    "a run id that is a path": "UPDATE runs SET id = '/tmp/elsewhere'",
    "a run id that leads up": "UPDATE runs SET id = '..'",
    "a run id of the artifacts": "UPDATE runs SET id = 'artifacts'",
    "a run id that colours": "UPDATE runs SET id = char(27) || '[31m'",
    "a run id that is a number": "UPDATE runs SET id = x'00ff'",
    "an unknown state": "UPDATE runs SET state = 'done'",
    "a request that is no JSON": "UPDATE runs SET request = '{'",
    "a request of another shape": "UPDATE runs SET request = '[1]'",
    "a request nested deeply": ("UPDATE runs SET request = ?", (nested(100_000),)),
    "a request nested less deeply": ("UPDATE runs SET request = ?", (nested(200),)),
    "a number of 5,000 digits": ("UPDATE runs SET request = ?", ('{"smoke":' + "1" * 5000 + "}",)),
    "prices that are text": """UPDATE runs SET request = '{"prices": "high"}'""",
    "a metric without a direction": """UPDATE runs SET request = '{"metrics": [{"name": "dice"}]}'""",
    "a metric whose name is a path": (
        "UPDATE runs SET request = ?",
        (json.dumps({"metrics": [{**METRICS["accuracy"].to_json(), "name": "../x"}]}),),
    ),
    "a time beyond any calendar": "UPDATE runs SET started_s = 1e300",
    "text for a number": "UPDATE launches SET wall_s = 'long'",
    "a blob for a number": "UPDATE launches SET body_s = x'00'",
    "a stage key that is a path": "UPDATE stages SET key = '../' || substr(key, 4)",
    "a cell of unknown stages": """UPDATE cells SET stages = '{"train": "deadbeef"}'""",
    "axes of another type": """UPDATE cells SET axes = '{"batch_size": "many"}'""",
    "an unknown launch state": "UPDATE launches SET state = 'fine'",
    "samples that are text": "UPDATE measurements SET samples = 'abc'",
    "samples that are a number": "UPDATE measurements SET samples = 1000000000000000",
    "samples that are not zlib": "UPDATE measurements SET samples = x'0102'",
    "half a sample": ("UPDATE measurements SET samples = ?", (zlib.compress(b"1234567"),)),
    "a bomb of samples": ("UPDATE measurements SET samples = ?", (zlib.compress(bytes(200_000_000)),)),
    "text that is no UTF-8": "UPDATE launches SET reason = CAST(x'fffe' AS TEXT)",
    "a missing column": "ALTER TABLE launches DROP COLUMN dynamic",
    "a missing table": "DROP TABLE overheads",
    "a trigger": "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM launches; END",
    "a view for a table": "CREATE VIEW v AS SELECT 1",
    "a computed column": "ALTER TABLE runs RENAME number TO n; "
    "ALTER TABLE runs ADD COLUMN number GENERATED ALWAYS AS (length(zeroblob(100000000)))",
    "a virtual table": "CREATE VIRTUAL TABLE f USING fts5(a)",
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_store_gets_one_line_and_is_left_untouched(results, tmp_path_factory, what):
    found = EDITS[what]
    statement, values = (found, ()) if isinstance(found, str) else found
    before = edit(results, statement, values=values)
    with pytest.raises(StoreError, match=r"^[\x20-\x7e]+$") as caught:
        use(results)
    assert "damaged" in str(caught.value) and len(str(caught.value)) < 500
    assert (results / "bench.sqlite").read_bytes() == before
    assert not list(tmp_path_factory.getbasetemp().glob("elsewhere"))


@pytest.mark.parametrize(
    "name", ["what?", "50%", "a#b", "a b", "x%3fmode=memory", ":memory:", "file:x", "ünï"]
)
def test_a_results_folder_may_have_any_name(tmp_path, name):
    build(tmp_path / name, SMALL, run_id=RUN).close()
    use(tmp_path / name)
    assert (tmp_path / name / "bench.sqlite").is_file() and (tmp_path / name / RUN / "report.html").is_file()


def test_a_results_folder_whose_name_is_no_utf_8_is_read_and_no_run_is_made_in_it(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9sultats"))
    with pytest.raises(StoreError, match="must be UTF-8"):
        prepare(RunOptions("ci", folder), fetch=False)
    build(folder, SMALL, run_id=RUN).close()
    store = Store.open(folder, create=False)
    store.start_run("run-2", "i", "quick", f"bench run --results {folder}", {}, [], [])
    assert store.run("run-2")["command"].endswith(r"r\udce9sultats")


def test_nothing_is_entered_that_could_not_be_read_again(results):
    store = Store.open(results, create=False)
    budget = {"target_interval": float("inf")}
    with pytest.raises(StoreError, match=r"cannot keep runs\.request budget\.target_interval"):
        store.start_run("run-2", "i", "quick", "bench run", {"budget": budget}, [], [])
    plugins = {"r\udce9sum\u00e9.py": "\U0001f680"}
    store.start_run("run-2", "i", "quick", "bench run", {"plugins": plugins}, [], [])
    assert store.run("run-2")["request"]["plugins"] == {"r\\udce9sum\u00e9.py": "\U0001f680"}


def test_the_lock_is_neither_followed_nor_emptied(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    results = tmp_path / "results"
    results.mkdir()
    (results / ".lock").symlink_to(mine)
    with pytest.raises(StoreError, match="not a link"):
        check_writable(results)
    (results / ".lock").unlink()
    (results / ".lock").hardlink_to(mine)
    check_writable(results)
    assert mine.read_text() == "mine"
    (results / ".lock").unlink()
    os.mkfifo(results / ".lock")
    with pytest.raises(StoreError, match=r"\.lock"):
        check_writable(results)


@pytest.mark.parametrize(
    "name",
    [
        *("artifacts", "artifacts/ab", "artifacts/content", "artifacts/content/ab"),
        *("baselines", "cache", "cache/inductor", "work"),
    ],
)
def test_a_folder_that_is_a_link_is_refused_by_what_writes(tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "results" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(StoreError, match="not a link"), alone_in(tmp_path / "results"):
        pass


@pytest.mark.parametrize("name", ["", "tables", "plots"])
def test_a_report_is_not_written_through_a_link(results, tmp_path_factory, name):
    outside = tmp_path_factory.mktemp("outside")
    link = results / RUN / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    store = Store.open(results, create=False)
    with pytest.raises(StoreError, match="not a link"):
        write(store, RUN, results / RUN)
    assert not any(outside.iterdir())


def test_a_baseline_is_not_written_through_a_link(results, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").write_text("mine")
    store = Store.open(results, create=False)
    (results / "baselines").mkdir()
    for name in ("main.json", f".main.json.{os.getpid()}"):
        (results / "baselines" / name).symlink_to(outside / "file")
    save(store, RUN, "main", results)
    assert (outside / "file").read_text() == "mine"
    (results / "baselines").rename(results / "before")
    (results / "baselines").symlink_to(outside)
    with pytest.raises(StoreError, match="not a link"):
        save(store, RUN, "main", results)


@pytest.mark.parametrize("companion", ["", "-journal", "-wal"])
def test_a_store_that_is_a_link_or_has_one_beside_it_is_refused(results, tmp_path_factory, companion):
    mine = tmp_path_factory.mktemp("outside") / "mine"
    if companion:
        mine.write_text("mine")
    else:
        (results / "bench.sqlite").rename(mine)
    before = mine.read_bytes()
    (results / f"bench.sqlite{companion}").symlink_to(mine)
    with pytest.raises(StoreError, match="not a link"):
        Store.open(results, create=False)
    assert mine.read_bytes() == before


def test_a_journal_that_names_another_file_is_refused_as_sqlite_would_delete_that(results, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("")
    name = str(mine).encode()
    tail = (1).to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + (sum(name)).to_bytes(4, "big")
    magic = bytes.fromhex("d9d505f920a163d7")
    (results / "bench.sqlite-journal").write_bytes(magic + bytes(504) + tail + magic)
    with pytest.raises(StoreError, match="of this file alone"):
        Store.open(results, create=False)
    assert mine.exists()


def test_a_record_that_is_a_pipe_or_huge_is_no_record(tmp_path):
    key = "ab" * 32
    folder = artifact_folder(tmp_path, key)
    folder.mkdir(parents=True)
    os.mkfifo(folder / "record.json")
    assert read_record(tmp_path, key) is None
    (folder / "record.json").unlink()
    with (folder / "record.json").open("wb") as file:
        file.truncate(2**40)
    assert read_record(tmp_path, key) is None


def test_content_is_only_what_is_named_by_a_hash(tmp_path):
    shard = tmp_path / "artifacts" / "content" / "ab"
    shard.mkdir(parents=True)
    (shard / "thesis.tex").write_text("mine")
    (shard / ("ab" * 32)).write_text("ours")
    assert [file.name for file in content_files(tmp_path)] == ["ab" * 32]


def baseline(results: Path, change: Callable[[dict[str, object]], object]) -> None:
    store = Store.open(results, create=False)
    path = save(store, RUN, "main", results)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    "text",
    [
        nested(100_000),
        nested(200),
        "[" * 100_000,
        '{"version":' + "1" * 5000 + "}",
        '{"version": 2, "run": "\\u001b[2J", "matrix": 1}',
        '{"version": 2, "run": "r", "matrix": "m", "environment": {"\\u202e": '
        + nested(100)
        + '}, "stages": {}}',
        '{"version": 2, "run": "r", "matrix": "m", "environment": {}, "stages": {"'
        + "s" * 100_000
        + '": {"nope": {}}}}',
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
    ids=["deep", "less deep", "unfinished", "digits", "types", "environment", "long", "bytes"],
)
def test_a_hostile_baseline_gets_one_short_line(results, text):
    (results / "baselines").mkdir()
    (results / "baselines" / "main.json").write_bytes(text.encode("latin-1", "replace"))
    store = Store.open(results, create=False)
    for ask in (lambda: check(store, RUN, "main", results), lambda: baseline_runs(results)):
        with pytest.raises(BenchError, match=r"^[\x20-\x7e]+$") as caught:
            ask()
        assert "main.json" in str(caught.value) and len(str(caught.value)) < 500


def test_a_baseline_that_is_a_pipe_is_not_waited_for(results):
    (results / "baselines").mkdir()
    os.mkfifo(results / "baselines" / "main.json")
    store = Store.open(results, create=False)
    with pytest.raises(BenchError, match="not a baseline"):
        check(store, RUN, "main", results)


def test_cleaning_leaves_what_a_link_leads_to(results, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").write_text("mine")
    (results / "20250101-000000-x").symlink_to(outside)
    store = Store.open(results, create=False)
    remove(store, results, survey(store, results, 0))
    assert (outside / "file").read_text() == "mine"


def test_a_matrix_of_any_name_gives_a_run_id_that_is_a_folders_name():
    assert run_name("späte läufe (2)") == "späte läufe (2)"
    assert run_name("a/b\x1b[31m\u202e\udce9") == "a_b_[31m__"
    assert len(run_name("m" * 250)) == 60
