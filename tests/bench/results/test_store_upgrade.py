"""A store that an older version wrote opens with all that was in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bench.results.store import Store

VERSION_1 = """
CREATE TABLE meta ("key" VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE runs (id VARCHAR NOT NULL, identity VARCHAR NOT NULL, state VARCHAR NOT NULL,
    matrix VARCHAR NOT NULL, command VARCHAR NOT NULL, request JSON NOT NULL, started_s FLOAT NOT NULL,
    finished_s FLOAT, PRIMARY KEY (id));
CREATE INDEX ix_runs_identity ON runs (identity);
CREATE TABLE environments (id VARCHAR NOT NULL, content JSON NOT NULL, PRIMARY KEY (id));
CREATE TABLE artifacts ("key" VARCHAR NOT NULL, kind VARCHAR NOT NULL, sha256 VARCHAR NOT NULL,
    bytes INTEGER NOT NULL, created_s FLOAT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE stages (run_id VARCHAR NOT NULL, "key" VARCHAR NOT NULL, position INTEGER NOT NULL,
    kind VARCHAR NOT NULL, label VARCHAR NOT NULL, timed BOOLEAN NOT NULL, parents JSON NOT NULL,
    request JSON NOT NULL, PRIMARY KEY (run_id, "key"), FOREIGN KEY(run_id) REFERENCES runs (id));
CREATE TABLE cells (run_id VARCHAR NOT NULL, position INTEGER NOT NULL, name VARCHAR NOT NULL,
    axes JSON NOT NULL, stages JSON NOT NULL, skipped VARCHAR NOT NULL, PRIMARY KEY (run_id, position),
    FOREIGN KEY(run_id) REFERENCES runs (id));
CREATE TABLE launches (id INTEGER NOT NULL, run_id VARCHAR NOT NULL, stage_key VARCHAR NOT NULL,
    round INTEGER NOT NULL, state VARCHAR NOT NULL, reason VARCHAR NOT NULL, output_tail VARCHAR NOT NULL,
    reused BOOLEAN NOT NULL, start_s FLOAT NOT NULL, wall_s FLOAT NOT NULL, body_s FLOAT NOT NULL,
    environment_id VARCHAR, dynamic JSON NOT NULL, PRIMARY KEY (id),
    FOREIGN KEY(run_id) REFERENCES runs (id));
CREATE INDEX ix_launches_run_id ON launches (run_id);
CREATE TABLE overheads (id INTEGER NOT NULL, run_id VARCHAR NOT NULL, part VARCHAR NOT NULL,
    seconds FLOAT NOT NULL, PRIMARY KEY (id), FOREIGN KEY(run_id) REFERENCES runs (id));
CREATE INDEX ix_overheads_run_id ON overheads (run_id);
CREATE TABLE measurements (launch_id INTEGER NOT NULL, metric VARCHAR NOT NULL, qualifier VARCHAR NOT NULL,
    value FLOAT, low FLOAT, high FLOAT, n INTEGER, method VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    samples BLOB, PRIMARY KEY (launch_id, metric, qualifier),
    FOREIGN KEY(launch_id) REFERENCES launches (id));
INSERT INTO meta VALUES ('schema_version', '1');
INSERT INTO runs VALUES ('first', 'same', 'running', 'ci', 'bench run', '{"smoke": false}', 200.0, NULL),
    ('second', 'same', 'running', 'ci', 'bench run', '{"smoke": false}', 100.0, NULL);
INSERT INTO environments VALUES ('e', '{"cpu": "some"}');
INSERT INTO artifacts VALUES ('k', 'train', 'f', 3, 1.0);
INSERT INTO stages VALUES ('first', 'k', 0, 'train', 'net', 0, '[]', '{"settings": {}}');
INSERT INTO cells VALUES ('first', 0, 'net/adam', '{"optimizer": "adam"}', '{"train": "k"}', '');
INSERT INTO launches VALUES (7, 'first', 'k', 0, 'ok', '', '', 0, 1.0, 2.0, 1.5, 'e', '{}');
INSERT INTO measurements VALUES (7, 'latency_s', '', 0.5, 0.4, 0.6, 3, 'clock', '', NULL);
INSERT INTO overheads VALUES (1, 'first', 'report', 2.5);
"""


@pytest.fixture
def old(tmp_path) -> Path:
    connection = sqlite3.connect(tmp_path / "bench.sqlite")
    connection.executescript(VERSION_1)
    connection.close()
    return tmp_path


def layout(path: Path) -> dict[str, set[tuple[object, ...]]]:
    """Return each table's columns and indexes, in no order."""
    with sqlite3.connect(path) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            table: {row[1:] for row in connection.execute(f"PRAGMA table_info({table})")}
            | {row[1:2] for row in connection.execute(f"PRAGMA index_list({table})")}
            for table in tables
        }


def test_a_store_of_version_1_keeps_its_content(old):
    store = Store.open(old, create=False)
    row = store.measurements("first").iloc[0]
    assert (row["stage_key"], row["metric"], row["value"], row["n"]) == ("k", "latency_s", 0.5, 3)
    assert store.launch_results("first") == [("k", 0, "ok")]
    known = {"optimizer": "adam", "schedule": "constant", "clip": "none", "average": "none"}
    assert known.items() <= store.cells("first")[0].axes.items()
    assert store.environments("first") == {"e": {"cpu": "some"}}
    assert store.overheads("first") == {"report": 2.5}
    assert store.artifact_sha256("k") == "f"


def test_its_runs_are_in_the_order_they_were_entered_and_new_ones_come_after(old):
    store = Store.open(old)
    assert store.find_run(None) == store.unfinished_run("same") == "second"
    store.start_run("third", "same", "ci", "bench run", {}, [], [])
    assert store.find_run(None) == "third"


def test_it_then_looks_as_a_new_store_does(old, tmp_path_factory):
    Store.open(old)
    new = Store.open(tmp_path_factory.mktemp("new"))
    upgraded, fresh = layout(old / "bench.sqlite"), layout(new.path)
    for table in fresh:
        # Where an added column stands differs, its type and default do not.
        assert upgraded[table] == fresh[table], table


def test_a_read_only_store_of_an_older_version_says_that_it_cannot_be_written(old, read_only):
    read_only(old)
    with pytest.raises(Exception, match="cannot be written"):
        Store.open(old, create=False)
