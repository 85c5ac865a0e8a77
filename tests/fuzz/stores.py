"""Damaged stores, each with a command that reads them."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.mutations import NUMBERS, a_text, as_json, changed, damaged

RUN = "20260101-000001-ci"
CELL = "digits/adam/none@onnxruntime"


@dataclass(frozen=True)
class Case:
    """A command line, and the store that must be untouched where the command refuses it."""

    kind: str
    words: tuple[str, ...]
    store: Path | None = None


def store_bytes(rng: random.Random, valid: Path, folder: Path) -> Case:
    results = copied(valid, folder)
    path = results / "bench.sqlite"
    path.write_bytes(damaged(path.read_bytes(), rng))
    if rng.random() < 0.2:
        companion = path.with_name(path.name + rng.choice(("-journal", "-wal", "-shm")))
        companion.write_bytes(damaged(path.read_bytes()[: rng.choice((10, 600, 5000))], rng))
    return Case("store", rng.choice(reading(results)), path)


def store_rows(rng: random.Random, valid: Path, folder: Path) -> Case:
    """Edit rows as somebody with a database's shell would, keeping the file a database."""
    results = copied(valid, folder)
    path = results / "bench.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys=OFF")
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        try:
            _edit_rows(connection, rng)
        except (sqlite3.Error, ValueError, TypeError, IndexError, OverflowError):
            continue  # a constraint of the table's own forbids it, or an edit before took the place away
    connection.close()
    return Case("store", rng.choice(reading(results)), path)


def _edit_rows(connection: sqlite3.Connection, rng: random.Random) -> None:
    tables = (
        "runs",
        "stages",
        "cells",
        "launches",
        "measurements",
        "environments",
        "artifacts",
        "overheads",
        "meta",
    )
    table = rng.choice(tables)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    if not columns:
        return  # the table is gone already
    column = rng.choice(columns)
    which = rng.choice(("", " WHERE rowid % 3 = 1", " WHERE rowid = (SELECT min(rowid) FROM " + table + ")"))
    kind = rng.randrange(15)
    if kind > 9:
        _edit_measurements(connection, rng)
    elif kind == 0:
        connection.execute(f"DELETE FROM {table}{which}")
    elif kind == 1:
        connection.execute(rng.choice((f"DROP TABLE {table}", f"ALTER TABLE {table} DROP COLUMN {column}")))
    elif kind == 2:
        programs = ("TRIGGER t AFTER UPDATE ON runs BEGIN SELECT 1; END", "VIEW v AS SELECT 1")
        connection.execute(f"CREATE {rng.choice(programs)}")
    elif kind in (3, 4, 5):
        values = (a_text(rng), rng.choice(NUMBERS), bytes(rng.randrange(256) for _ in range(9)), None)
        value = rng.choice(values)
        value = float(value) if isinstance(value, int) and abs(value) >= 2**63 else value
        connection.execute(f"UPDATE {table} SET {column} = ?{which}", (value,))
    else:
        documents = {
            "runs": "request",
            "stages": "request",
            "cells": "axes",
            "launches": "dynamic",
            "environments": "content",
        }
        table = rng.choice(list(documents))
        column = "stages" if table == "cells" and rng.random() < 0.5 else documents[table]
        rows = connection.execute(f"SELECT rowid, {column} FROM {table} ORDER BY rowid").fetchall()
        rowid, text = rng.choice(rows)
        new = as_json(changed(json.loads(text), rng))
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, rowid))


def _edit_measurements(connection: sqlite3.Connection, rng: random.Random) -> None:
    """Give measurements of one metric values that no stage would."""
    metrics = [
        name for (name,) in connection.execute("SELECT DISTINCT metric FROM measurements ORDER BY metric")
    ]
    metric = rng.choice(metrics)
    column = rng.choice(("value", "value", "value", "low", "high", "n", "samples", "qualifier", "metric"))
    value: Any = rng.choice((*(float(number) for number in NUMBERS), None))
    if column == "n":
        value = rng.choice((0, 1, 2**53, -1))
    elif column == "samples":
        numbers = [float(rng.choice(NUMBERS)) for _ in range(rng.choice((0, 1, 20, 50)))]
        value = zlib.compress(struct.pack(f"<{len(numbers)}d", *numbers))
    elif column == "qualifier":
        value = rng.choice((a_text(rng), "before", "recovered", "shirt", "1", "fp32"))
    elif column == "metric":
        value = rng.choice(metrics)
    some = rng.choice(("", " AND launch_id % 2 = 0", " AND launch_id % 3 = 1"))
    connection.execute(
        f"UPDATE OR IGNORE measurements SET {column} = ? WHERE metric = ?{some}", (value, metric)
    )


def reading(results: Path) -> list[tuple[str, ...]]:
    place = ("--results", str(results))
    return [
        ("report", *place),
        ("report", *place),
        ("show", CELL, *place),
        ("show", "0", *place),
        ("clean", *place),
        ("clean", "--yes", "--keep", "0", *place),
        ("baseline", "save", "again", *place),
        ("check", "--baseline", "main", *place),
        ("limits", *place),
        ("why", CELL, *place),
        ("history", "latency_s", CELL, *place),
        ("rank", *place),
        ("baseline", "show", "main", *place),
        ("baseline", "list", *place),
        ("export", "--format", "pytest-benchmark", *place),
        ("merge", str(results), "--into", str(results.parent / "merged")),
        ("run", "--matrix", "ci", "--dry-run", *place),
        ("flops", "digits/adam/nowhere", *place),
        ("advise", "--max-loss", "1", "--max-latency-ms", "5", *place),
        ("compare", RUN, RUN, *place),
        ("export", "--format", "csv", "--table", "inference", *place),
        ("export", "--format", "latex", *place),
    ]


def copied(valid: Path, folder: Path) -> Path:
    if not (folder / "copy").exists():
        shutil.copytree(valid, folder / "copy")
    return folder / "copy"
