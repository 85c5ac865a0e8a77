"""`bench list`: everything that can be selected. Imports no runtime."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench.commands import Command, Plugins
from bench.errors import BenchError
from bench.execution.engines import ENGINES
from bench.formatting import print_table, say
from bench.matrix.shipped import shipped_matrices
from bench.plugins import load_plugins
from bench.stages import STAGES
from bench.workloads import WORKLOADS, WorkloadRow
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS
from techniques.optimizers import OPTIMIZERS
from techniques.parallel import PARALLELS
from techniques.regime import AVERAGES, CLIPS, SCHEDULES
from techniques.registry import Registry, Row, nearest
from techniques.settings import spell


def list_(
    table: Annotated[
        str | None,
        typer.Argument(
            help="optimizers, schedules, clips, averages, parallels, compressions, backends, workloads, "
            "metrics, stages, engines, matrices, or matrix (the keys of a matrix file). Default: all tables "
            "except matrix."
        ),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List what can be selected, and what cannot run on this machine and why."""
    load_plugins(plugin or [])
    if sys.platform != "linux":
        say("bench requires Linux: nothing in this list can run on this system", file=sys.stderr)
    if table is not None and table not in TABLES:
        raise BenchError(f"unknown table {table!r}{nearest(table, TABLES)}")
    for name, lines in TABLES.items():
        if table == name or (table is None and name not in _BY_NAME_ONLY):
            print_table(name, lines())


def _techniques(registry: Registry[Row]) -> list[tuple[str, str, str]]:
    rows = []
    for row in registry.rows().values():
        settings = ", ".join(f"{key}={spell(value)}" for key, value in row.defaults.items())
        reason = row.unavailable()
        rows.append((row.name, settings, row.about + (f"  [unavailable: {reason}]" if reason else "")))
    return rows


def _workloads() -> list[tuple[str, str, str]]:
    return [(row.name, _aim(row), row.about) for row in WORKLOADS.rows().values()]


def _aim(row: WorkloadRow) -> str:
    """Return the quality that a workload is trained to reach, if it is trained."""
    if row.inference_only:
        return "no training"
    return (
        f"{row.quality_metric} >= {row.target:g} in {row.train_steps} steps" if row.complete else "your own"
    )


def _metrics() -> list[tuple[str, str, str, str, str]]:
    from bench.metrics import METRICS

    return [(row.name, row.unit, row.kind, row.better, row.about) for row in METRICS.values()]


def _stages() -> list[tuple[str, str]]:
    return [(row.name, row.about) for row in STAGES.rows().values()]


def _matrices() -> list[tuple[str, str]]:
    return [(name, _about(file)) for name, file in shipped_matrices().items()]


def _about(file: Path) -> str:
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    left_out = content.get("leaves_out", "")
    return f"{content.get('about', '')}" + (f". Leaves out {left_out}" if left_out else "")


def _matrix_keys() -> list[tuple[str, str, str, str]]:
    from bench.matrix.described import keys

    return [
        (f"{key.section}.{key.name}".lstrip("."), key.type, _default(key.default), key.bounds)
        for key in keys()
    ]


def _default(value: str) -> str:
    return value if value == "required" else f"default {value}"


TABLES: dict[str, Callable[[], Sequence[Sequence[str]]]] = {
    "optimizers": lambda: _techniques(OPTIMIZERS),  # type: ignore[arg-type]
    "schedules": lambda: _techniques(SCHEDULES),  # type: ignore[arg-type]
    "clips": lambda: _techniques(CLIPS),
    "averages": lambda: _techniques(AVERAGES),
    "parallels": lambda: _techniques(PARALLELS),  # type: ignore[arg-type]
    "compressions": lambda: _techniques(COMPRESSIONS),  # type: ignore[arg-type]
    "backends": lambda: _techniques(BACKENDS),  # type: ignore[arg-type]
    "workloads": _workloads,
    "metrics": _metrics,
    "stages": _stages,
    "engines": lambda: _techniques(ENGINES),
    "matrices": _matrices,
    "matrix": _matrix_keys,
}
_BY_NAME_ONLY = ("matrix",)
"""Building it takes as long as all the others together."""

COMMANDS = (Command("list", "Look", list_),)
