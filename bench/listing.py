"""What `bench list` and `bench data list` print. Imports no runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.plugins import load_plugins
from bench.terminal import say
from bench.workloads import WORKLOADS, WorkloadRow
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS
from techniques.optimizers import OPTIMIZERS
from techniques.registry import Registry, Row, nearest
from techniques.settings import spell


def print_tables(table: str | None, plugins: Iterable[Path]) -> None:
    """Print one table, or all; raises BenchError that names the nearest table."""
    load_plugins(plugins)
    if table is not None and table not in TABLES:
        raise BenchError(f"unknown table {table!r}{nearest(table, TABLES)}")
    for name, lines in TABLES.items():
        if table in (None, name):
            print_table(name, lines())


def print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns of equal width, under a title."""
    say(f"{title}:")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        say("  " + "  ".join([*cells, row[-1]]).rstrip())
    say()


def print_data() -> None:
    """Print the data sets and where they are."""
    from bench.datasets import DATASETS, locate

    rows = []
    for dataset in DATASETS.values():
        place = locate(dataset.name)
        where = str(place) if place else f"not here; `bench data get {dataset.name}` fetches it"
        rows.append(
            (dataset.name, dataset.licence, f"{dataset.size_bytes / 1e6:.1f} MB", where, dataset.about)
        )
    print_table("data sets", rows)


def _techniques(registry: Registry[Row]) -> list[tuple[str, str, str]]:
    rows = []
    for row in registry.rows().values():
        settings = ", ".join(f"{key}={spell(value)}" for key, value in row.defaults.items())
        reason = row.unavailable()
        rows.append((row.name, settings, row.about + (f"  [not here: {reason}]" if reason else "")))
    return rows


def _workloads() -> list[tuple[str, str, str]]:
    return [(row.name, _aim(row), row.about) for row in WORKLOADS.rows().values()]


def _aim(row: WorkloadRow) -> str:
    """Say what a workload is trained to, if it is."""
    if row.inference_only:
        return "served as it is"
    return (
        f"{row.quality_metric} >= {row.target:g} in {row.train_steps} steps" if row.complete else "as you say"
    )


def _metrics() -> list[tuple[str, str, str, str, str]]:
    from bench.metrics import METRICS

    return [(row.name, row.unit, row.kind, row.better, row.about) for row in METRICS.values()]


TABLES: dict[str, Callable[[], Sequence[Sequence[str]]]] = {
    "optimizers": lambda: _techniques(OPTIMIZERS),
    "compressions": lambda: _techniques(COMPRESSIONS),  # type: ignore[arg-type]
    "backends": lambda: _techniques(BACKENDS),  # type: ignore[arg-type]
    "workloads": _workloads,
    "metrics": _metrics,
}
