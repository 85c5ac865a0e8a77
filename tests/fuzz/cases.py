"""Mutated matrices, filters, settings, options, baselines and stores, each with a command that reads it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.matrix.limits import parse_limit
from bench.metrics import MetricTable
from bench.records import Measurement, Result
from bench.regression.baseline import save
from tests.fuzz.mutations import NUMBERS, a_text, as_json, as_toml, changed, damaged
from tests.fuzz.stores import CELL, RUN, Case, copied, reading, store_bytes, store_rows
from tests.support.synthetic_run import Synthetic, build

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


_FOREIGN: dict[str, dict[str, Any]] = {
    "hyperfine": {
        "results": [
            {
                **{"command": "train.py", "mean": 0.1, "median": 0.1, "times": [0.1, 0.11, 0.1]},
                **{"memory_usage_byte": [1000, 1100, 1000], "exit_codes": [0, 0, 1]},
            }
        ]
    },
    "asv": {
        **{"commit_hash": "0d24f201", "env_name": "venv", "date": 1_703_000_000_000, "python": "3.12"},
        "params": {"arch": "x86_64", "cpu": "Some CPU", "machine": "builder", "num_cpu": "8"},
        "result_columns": ["result", "params", "version", "started_at", "duration", "samples"],
        "results": {
            "bench.time_sum": [[1.2, 1.3], [["1", "2"]], "f00", 1_703_063_099_923, 38.6, [[1.2], [1.3]]]
        },
        "version": 2,
    },
    "pytest-benchmark": {
        "machine_info": {"node": "builder", "cpu": {"brand_raw": "Some CPU"}},
        "commit_info": {"id": "0d24f201", "dirty": False},
        "benchmarks": [
            {
                **{
                    "name": "test_sum",
                    "fullname": "test_a.py::test_sum",
                    "extra_info": {"dense_flops": 1000},
                },
                **{
                    "params": None,
                    "stats": {"data": [0.1, 0.2], "median": 0.15, "rounds": 2, "iterations": 3},
                },
            }
        ],
        **{"datetime": "2026-01-01T00:00:00", "version": "5.1.0"},
    },
}


_OF_A_PLUGIN = (
    MetricTable([]).add("dice", unit="share", better="higher", quality=True, about="overlap").to_json()
)


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
            ("baseline", "save", value, "--results", str(copied(valid, folder))),
        ),
        *(
            ("baseline", "save", "other", value, "--results", str(folder / "copy")),
            ("profile", value, *results),
        ),
        *(("why", value, *results), ("why", CELL, "--run", value, *results)),
        *(("history", value, CELL, *results), ("history", "latency_s", value, *results)),
        *(("rank", value, *results), ("rank", "--baseline", value, "--results", str(valid))),
        *(("export", value, *results), ("export", "--format", value, "--results", str(valid))),
        *(("import", value, *results), ("merge", value, "--into", str(folder / "merged"))),
        *(("baseline", "rm", value, *results), ("baseline", "show", value, "--results", str(valid))),
        *(("ab", value), ("ab", "--with", value), ("ab", "a", "b", "--metric", value, *results)),
        *(("bisect", value, value), ("bisect", "HEAD", "--matrix", value)),
        *(
            ("advise", "--limit", value, "--results", str(valid)),
            ("advise", "--workload", value, *results),
            ("advise", "--max-loss", value, "--max-bytes", value, "--results", str(valid)),
            ("compare", RUN, value, "--html", str(folder / "compared.html"), *results),
            ("export", "--format", value, "--table", value, *results),
            ("export", value, "--format", "csv", "--table", "inference", *results),
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
    return Case("name", rng.choice(reading(place)))


def _foreign(rng: random.Random, valid: Path, folder: Path) -> Case:
    """Import a file of another tool, changed or damaged."""
    name, content = rng.choice(list(_FOREIGN.items()))
    data = as_json(changed(content, rng)).encode()
    path = folder / f"{name}.json"
    path.write_bytes(damaged(data, rng) if rng.random() < 0.3 else data)
    told = rng.choice(((), ("--format", name), ("--machine", a_text(rng))))
    return Case("another tool's file", ("import", str(path), *told, "--results", str(folder / "new")))


def _baseline(rng: random.Random, valid: Path, folder: Path) -> Case:
    results = copied(valid, folder)
    path = results / "baselines" / "main.json"
    data = path.read_bytes()
    path.write_bytes(
        damaged(data, rng) if rng.random() < 0.3 else as_json(changed(json.loads(data), rng)).encode()
    )
    commands = (
        ("check", "--baseline", "main"),
        ("check", "--baseline", "main", "--any-machine"),
        *(("baseline", "list"), ("baseline", "show", "main")),
        ("clean",),
        ("baseline", "save", "main"),
    )
    return Case("baseline", (*rng.choice(commands), "--results", str(results)))


_KINDS: Mapping[str, Callable[[random.Random, Path, Path], Case]] = {
    "matrix": _matrix,
    "filter": _filter,
    "settings": _settings,
    "option": _option,
    "name": _name,
    "baseline": _baseline,
    "another tool's file": _foreign,
    "store's bytes": store_bytes,
    "store's rows": store_rows,
    "store's rows again": store_rows,
}


def _dry_run(matrix: str, folder: Path) -> tuple[str, ...]:
    return ("run", "--matrix", matrix, "--dry-run", "--results", str(folder / "new"))


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
