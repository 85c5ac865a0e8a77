"""The tables of learning rates and batch sizes that reach the target, for people."""

from __future__ import annotations

import math

import pandas as pd

from bench.formatting import three_digits
from reports.frames.sensitivity import BATCH_SIZE, RATE
from reports.grids.cell import UNKNOWN, Column, Entry, Row, metric, plain
from reports.grids.grid import Grid, build_grid


def _reaching(row: Row) -> Entry:
    return Entry(f"{row['reaching']}/{row['values']}", sort=row["reaching"] / row["values"])


def _range(row: Row) -> Entry:
    if row["best"] is None:
        return Entry(UNKNOWN)
    elsewhere = f", and {row['elsewhere']}" if row["elsewhere"] else ""
    return Entry(f"{row['low']:g} to {row['high']:g}{elsewhere}", sort=row["low"])


def _decades(row: Row) -> Entry:
    """Show the decades between the values that were seen to reach it, up to those that were not."""
    if row["best"] is None:
        return Entry(UNKNOWN)
    seen, most = row["decades"], row["most_decades"]
    if most is not None:
        return Entry(f"{seen:.2f} to {most:.2f}", sort=seen)
    ends = [name for name, missed in (("lowest", row["below"]), ("highest", row["above"])) if missed is None]
    return Entry(f"≥ {seen:.2f} (reached at the {' and the '.join(ends)} tested)", sort=seen)


def _best(row: Row) -> Entry:
    if row["best"] is None:
        return Entry(UNKNOWN)
    return Entry(f"{row['best']:g}{' (at the end)' if row['best_at_end'] else ''}", sort=row["best"])


def _critical(row: Row) -> Entry:
    size, low, high = (row[f"critical_batch{end}"] for end in ("", "_low", "_high"))
    if size is None:
        return Entry(UNKNOWN)
    if low == 0 and math.isinf(high):
        return Entry("the tested sizes do not tell")
    return Entry(f"{_size(size)} ({_size(low)} to {_size(high)})", sort=size)


def _size(value: float) -> str:
    return "∞" if math.isinf(value) else three_digits(value)


_GROUP: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("optimizer", plain("optimizer")),
    ("backend", plain("train_backend")),
    ("precision", plain("train_precision")),
)
_RANGE: tuple[Column, ...] = (
    ("reach the target", _reaching),
    ("range", _range),
    ("decades", _decades),
)
_RATES: tuple[Column, ...] = (
    *(*_GROUP, ("batch", plain("train_batch_size")), *_RANGE),
    ("best", _best),
    ("steps there", metric("steps_to_target")),
)
_BATCH_SIZES: tuple[Column, ...] = (
    *(*_GROUP, *_RANGE),
    ("critical batch size", _critical),
    ("fewest steps", metric("min_steps", "steps_to_target")),
    ("fewest samples", metric("min_samples", "samples_to_target")),
)


def sensitivity_grids(ranges: pd.DataFrame) -> list[Grid]:
    """Return a table of rates and one of batch sizes, as far as the frame `sensitivity` has them."""
    specifications = (
        (RATE, "Sensitivity: learning rates that reach the target", _RATES),
        (
            BATCH_SIZE,
            "Sensitivity: batch sizes that reach the target, at the best rate of each",
            _BATCH_SIZES,
        ),
    )
    grids = [
        build_grid(
            f"sensitivity-{setting.replace(' ', '-')}", title, columns, ranges[ranges["setting"] == setting]
        )
        for setting, title, columns in specifications
    ]
    return [grid for grid in grids if grid.rows]
