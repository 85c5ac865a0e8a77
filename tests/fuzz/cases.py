"""Mutated matrices, filters, settings, options, baselines and stores, each with a command that reads it."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.matrix.limits import parse_limit
from bench.metrics import MetricTable
from bench.records import Measurement, Result
from bench.regression.baseline import save
from tests.fuzz.mutations import NUMBERS, a_text, as_json, as_toml, changed, damaged
from tests.support.synthetic_run import Synthetic, build

RUN = "20260101-000001-ci"
CELL = "digits/adam/none@onnxruntime"
MATRIX: dict[str, Any] = {
    "about": "small",
    "train": {"workload": ["digits"], "optimizer": ["adam", "momentum"], "seed": [0, 1], "batch_size": 32},
    "infer": {
        "compression": ["none", "int8-static"],
        "backend": ["cpu-eager", "onnxruntime"],
        "batch_size": [1, 8],
    },
    "exclude": [{"optimizer": "momentum", "compression": "int8-static"}],
    "budget": {
        **{"train_steps": 10, "target_interval": 0.1, "max_launches": 3, "max_repeats": 1, "sample_s": 0.1},
        **{"flush_cache": False, "timeout_s": 60, "memory_gib": 4, "allocator": "keep"},
    },
    "prices": {"name": "ours", "currency": "EUR", "machine_per_hour": 1.5, "energy_per_kwh": 0.3},
    "estimate": {"watts": 65.0},
    "server": {"p99_ms": 10.0, "seconds": 1.0},
    "generation": {"caches": ["int8"]},
    "peaks": {"cpu": {"operations_per_s": {"fp32": 1e11, "int8": 4e11}, "bytes_per_s": 2e10}},
    "fallback": {"fashion_mnist": "digits"},
    "limits": [{"where": "workload=digits,batch_size=1", "require": ["accuracy >= 0.9", "latency_ms <= 20"]}],
}


_OF_A_PLUGIN = (
    MetricTable([]).add("dice", unit="share", better="higher", quality=True, about="overlap").to_json()
)


@dataclass(frozen=True)
class Case:
    """A command line, and the store that must be untouched where the command refuses it."""

    kind: str
    words: tuple[str, ...]
    store: Path | None = None


def prepare(folder: Path) -> Path:
    """Make a small valid results folder, that cases change copies of; returns it."""
    results = folder / "valid"
    made_up = Synthetic(
        optimizers=("adam", "sgd"),
        compressions=("none", "finetune", "int8-static"),
        backends=("cpu-eager", "onnxruntime"),
        peaks={"cpu": {"operations_per_s": {"fp32": 1e11}, "bytes_per_s": 2e10}},
        notes=("a note",),
        metrics=(_OF_A_PLUGIN,),
        results={"train digits/sgd": Result("ok", measurements=(Measurement("dice", 0.5),))},
        request={"limits": [parse_limit("latency_us <= 700").to_json()]},
    )
    store = build(results, made_up, run_id=RUN)
    store.keep_prediction(RUN, _prediction(len(store.stages(RUN))))
    save(store, RUN, "main", results)
    store.close()
    return results


def _prediction(stages: int) -> dict[str, Any]:
    """Return what a run of as many stages may have predicted of itself."""
    return {
        **{"wall_s": 60.0, "bound_s": 5.0, "ended": 0, "reused": 0, "sources": {"guess": stages}},
        "disk": {"artifacts": 1000, "store": 100, "report": 10, "compile cache": 0},
        "overheads": {"imports": 10.0, "start of processes": 2.0},
        "costs": [
            {"first_s": 2.0, "later_s": 1.0, "launches": 3.0, "artifact_bytes": 500, "source": "guess"}
        ],
        **{"stages": [0] * stages, "seconds": [2.0] * stages},
        "before": {"launches": 0, "overheads": {}, "bytes": {"store": 10, "compile cache": 0}},
        "grown": {"store": 90, "compile cache": 0},
    }


def make_case(rng: random.Random, valid: Path, folder: Path) -> Case:
    """Write the files of one mutated case into an empty folder; returns its command."""
    kinds = list(_KINDS)
    kind = rng.choice(kinds)
    return _KINDS[kind](rng, valid, folder)


def _matrix(rng: random.Random, valid: Path, folder: Path) -> Case:
    text = as_toml(changed(MATRIX, rng)).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        text = damaged(text, rng)
    elif rng.random() < 0.1:
        text += b"x = " + rng.choice((b"[" * 10_000, b"9" * 5000, b"{a=" * 5000, b'"""'))
    return Case("matrix", _dry_run(_named(rng, folder, ".toml", text), folder))


def _filter(rng: random.Random, valid: Path, folder: Path) -> Case:
    axes = (
        "workload",
        "optimizer",
        "backend",
        "train.backend",
        "compression",
        "seed",
        "batch_size",
        a_text(rng),
    )
    known = ("digits", "adam", "momentum", "cpu-eager", "onnx*", "none", "0", "1", "*", a_text(rng))
    parts = [
        "".join(map(rng.choice, (axes, "===:|", known, ("", "|", "|" + a_text(rng)))))
        for _ in range(rng.choice((1, 1, 2, 3, 100)))
    ]
    text = ",".join(parts)
    return Case("filter", (*_dry_run("ci", folder), "--filter", changed_text(text, rng)))


def _settings(rng: random.Random, valid: Path, folder: Path) -> Case:
    """Give every axis techniques with settings, right and wrong, as a matrix and as words."""
    techniques = {
        "optimizer": ("adam", "momentum", "muon", "sgd", "shampoo", "tuned", "*"),
        "compression": ("none", "prune-mean", "prune-magnitude", "int8-static", "distill", "finetune", "*"),
        "backend": ("cpu-eager", "onnxruntime", "openvino", "cpu-inductor", "auto", "*"),
        "workload": (
            "digits",
            "module",
            "own",
            "onnx",
            "huggingface",
            "image_folder",
            "text_table",
            "exported",
        ),
    }
    axis = rng.choice(list(techniques))
    name = rng.choice(techniques[axis])
    names = ("lr", "momentum", "amount", "threads", "width", "path", a_text(rng))
    settings = [
        f"{rng.choice(names)}={rng.choice((a_text(rng), str(rng.choice(NUMBERS))))}"
        for _ in range(rng.randrange(4))
    ]
    spelled = name + (":" + rng.choice((",", "+", ":")).join(settings) if settings else "")
    spelled = rng.choice((spelled, spelled + "+" + name, changed_text(spelled, rng)))
    if axis == "workload":
        return Case("settings", (*_dry_run("ci", folder), "--workload", spelled))
    section = "train" if axis == "optimizer" else "infer"
    content = {**MATRIX, section: {**MATRIX[section], axis: spelled}}
    path = folder / "settings.toml"
    path.write_bytes(as_toml(content).encode("utf-8", "replace"))
    return Case("settings", _dry_run(str(path), folder))


def _option(rng: random.Random, valid: Path, folder: Path) -> Case:
    """Give any value to any option of any command that measures nothing."""
    value = rng.choice((a_text(rng), str(rng.choice(NUMBERS))))
    results = ("--results", rng.choice((str(valid), str(folder / "new"), value)))
    commands: tuple[tuple[str, ...], ...] = (
        ("run", "--matrix", value, "--dry-run", *results),
        ("run", "--matrix", "ci", "--workload", value, "--dry-run", *results),
        ("run", "--matrix", "ci", "--plugin", value, "--dry-run", *results),
        ("run", "--matrix", "ci", "--filter", value, "--dry-run", *results),
        *((("run", "--matrix", "ci", "--dry-run", value)), ("list", value), (value,), ()),
        *(("list", "--plugin", value), ("list", "metrics", value), ("data", value), ("data", "where", value)),
        *(("report", value, *results), ("show", value, *results), ("show", CELL, "--run", value, *results)),
        ("flops", value, *results),
        *(("limits", value, *results), ("limits", "--matrix", value, "--results", str(valid))),
        ("flops", "module:nowhere:x", "--input", value, *results),
        ("flops", "nowhere", "--batch", value, "--optimizer", value, "--run", value, *results),
        ("check", "--baseline", value, *results),
        ("check", value, "--baseline", "main", *results),
        ("check", "--baseline", "main", "--threshold", value, "--results", str(valid)),
        *(
            ("clean", "--keep", value, *results),
            ("baseline", "save", value, "--results", str(_copy(valid, folder))),
        ),
        *(
            ("baseline", "save", "other", value, "--results", str(folder / "copy")),
            ("profile", value, *results),
        ),
    )
    return Case("option", rng.choice(commands))


def _name(rng: random.Random, valid: Path, folder: Path) -> Case:
    """Call files by names that a terminal or a spreadsheet takes for something else."""
    kind = rng.randrange(4)
    if kind == 0:
        return Case("name", _dry_run(_named(rng, folder, ".toml", as_toml(MATRIX).encode()), folder))
    if kind == 1:
        plugin = _named(rng, folder, ".py", rng.choice((b"x = 1", b"raise ValueError('\x1b[31m')", b"\xff")))
        return Case("name", (*_dry_run("ci", folder), "--plugin", plugin))
    if kind == 2:
        model = _named(rng, folder, ".onnx", b"")
        return Case("name", (*_dry_run("ci", folder), "--workload", f"onnx:{model}"))
    place = Path(_named(rng, folder, "", b""))
    place.unlink()
    shutil.copytree(valid, place)
    return Case("name", rng.choice(_reading(place)))


def _baseline(rng: random.Random, valid: Path, folder: Path) -> Case:
    results = _copy(valid, folder)
    path = results / "baselines" / "main.json"
    data = path.read_bytes()
    path.write_bytes(
        damaged(data, rng) if rng.random() < 0.3 else as_json(changed(json.loads(data), rng)).encode()
    )
    commands = (
        ("check", "--baseline", "main"),
        ("check", "--baseline", "main"),
        ("clean",),
        ("baseline", "save", "main"),
    )
    return Case("baseline", (*rng.choice(commands), "--results", str(results)))


def _store_bytes(rng: random.Random, valid: Path, folder: Path) -> Case:
    results = _copy(valid, folder)
    path = results / "bench.sqlite"
    path.write_bytes(damaged(path.read_bytes(), rng))
    if rng.random() < 0.2:
        companion = path.with_name(path.name + rng.choice(("-journal", "-wal", "-shm")))
        companion.write_bytes(damaged(path.read_bytes()[: rng.choice((10, 600, 5000))], rng))
    return Case("store", rng.choice(_reading(results)), path)


def _store_rows(rng: random.Random, valid: Path, folder: Path) -> Case:
    """Edit rows as somebody with a database's shell would, keeping the file a database."""
    results = _copy(valid, folder)
    path = results / "bench.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys=OFF")
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        try:
            _edit_rows(connection, rng)
        except (sqlite3.Error, ValueError, TypeError, IndexError, OverflowError):
            continue  # a constraint of the table's own forbids it, or an edit before took the place away
    connection.close()
    return Case("store", rng.choice(_reading(results)), path)


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


_KINDS: Mapping[str, Callable[[random.Random, Path, Path], Case]] = {
    "matrix": _matrix,
    "filter": _filter,
    "settings": _settings,
    "option": _option,
    "name": _name,
    "baseline": _baseline,
    "store's bytes": _store_bytes,
    "store's rows": _store_rows,
    "store's rows again": _store_rows,
}


def _dry_run(matrix: str, folder: Path) -> tuple[str, ...]:
    return ("run", "--matrix", matrix, "--dry-run", "--results", str(folder / "new"))


def _reading(results: Path) -> list[tuple[str, ...]]:
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
        ("run", "--matrix", "ci", "--dry-run", *place),
        ("flops", "digits/adam/nowhere", *place),
    ]


def _copy(valid: Path, folder: Path) -> Path:
    if not (folder / "copy").exists():
        shutil.copytree(valid, folder / "copy")
    return folder / "copy"


def _named(rng: random.Random, folder: Path, suffix: str, data: bytes) -> str:
    """Write a file of a strange name; returns its path."""
    for _ in range(20):
        path = folder / ("f" + a_text(rng).replace("/", "_").replace("\x00", "_")[:80] + suffix)
        try:
            path.write_bytes(data)
        except (OSError, UnicodeEncodeError):
            continue
        return str(path)
    return str(folder / "none")


def changed_text(text: str, rng: random.Random) -> str:
    """Return a text as it is, or with a piece of another in it."""
    if rng.random() < 0.5:
        return text
    place = rng.randrange(len(text) + 1)
    return text[:place] + a_text(rng) + text[place + rng.randrange(3) :]
