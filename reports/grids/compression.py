"""Tables for people on compression: what it costs and saves, and which classes lose quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from bench.formatting import format_points, format_value, three_digits
from reports.frames import worst_classes
from reports.frames.break_even import NEVER
from reports.frames.tradeoff import MAX_NONZERO_SHARE
from reports.frames.view import place_of, records
from reports.grids.cell import (
    AFTER_ALL,
    PRELIMINARY,
    UNKNOWN,
    Column,
    Entry,
    Row,
    bounds,
    metric,
    plain,
    speedup,
)
from reports.grids.grid import Grid, build_grid


def compression_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the tables of the frames `tradeoff` and `classes`."""
    return [
        build_grid("tradeoff", "What each compression costs and saves", TRADEOFF, frames["tradeoff"]),
        _classes_grid(frames["classes"], frames["tradeoff"]),
    ]


def difference(row: Row, key: str) -> Entry:
    """Show percentage points with their interval over seeds."""
    value, low, high = row[key], row[f"{key}_low"], row[f"{key}_high"]
    if value is None:
        return Entry(UNKNOWN)
    interval = f"{format_points(low)} to {format_points(high)}" if low is not None else ""
    return Entry(format_points(value), interval, value, low=low, high=high)


def _against_control(row: Row) -> Entry:
    entry = difference(row, "vs_control_points")
    detail = f"{row['control']}; {entry.detail}".rstrip("; ") if row["control"] else ""
    return entry._replace(detail=detail)


def _speedup(row: Row) -> Entry:
    if not row["same_timing"]:
        return speedup(row)
    if row["compression"] == "none":
        return Entry("1×", sort=1.0)
    zeroed = row["nonzero_share"] is not None and row["nonzero_share"] < MAX_NONZERO_SHARE
    why = "zeroed weights still run as dense" if zeroed else "same layers and shapes"
    return Entry("1×", f"same speed as none ({why})", 1.0)


def _latency(row: Row) -> Entry:
    mark = PRELIMINARY if row["latency_preliminary"] else ""
    return Entry(format_value("latency_s", row["latency_s"]) + mark, sort=row["latency_s"])


def _times(key: str) -> Callable[[Row], Entry]:
    return lambda row: Entry(UNKNOWN if row[key] is None else f"{three_digits(row[key])}×", sort=row[key])


def _quality(row: Row) -> Entry:
    several = row["trainings"] > 1
    spread = bounds("quality", row["quality_low"], row["quality_high"]) if several else ""
    return Entry(format_value("quality", row["quality"]), spread, row["quality"])


def _break_even(row: Row) -> Entry:
    """Show after how many inferences compressing has paid: in time, and below in energy and money."""
    verdict, value = row["break_even_verdict"], row["break_even_inferences"]
    if verdict.startswith(NEVER):
        return Entry(NEVER, verdict.removeprefix(f"{NEVER}: "), AFTER_ALL)
    others = {"energy": row["break_even_energy_inferences"], "money": row["break_even_money_inferences"]}
    name = "break_even_inferences"
    known = [f"{what} {format_value(name, number)}" for what, number in others.items() if number is not None]
    return Entry(format_value(name, value), ", ".join(known) or verdict, value)


TRADEOFF: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("compression", plain("compression")),
    ("backend", plain("backend")),
    ("precision", plain("precision")),
    ("batch", plain("batch_size")),
    ("trainings", plain("trainings")),
    ("quality", _quality),
    ("quality loss vs none (pts)", lambda row: difference(row, "loss_points")),
    ("gain vs control (pts)", _against_control),
    ("latency", _latency),
    ("speedup vs none, same backend", _speedup),
    ("size on disk", metric("artifact_bytes")),
    ("times smaller", _times("times_smaller")),
    ("times smaller, compressed", _times("times_smaller_compressed")),
    ("non-zero weights", metric("nonzero_share", "quality")),
    ("answers flipped", metric("answers_flipped", "answers_lost")),
    ("answers lost", metric("answers_lost")),
    ("answers won", metric("answers_won")),
    ("pays after (inferences)", _break_even),
    ("why", plain("why")),
)


def _classes_grid(classes: pd.DataFrame, tradeoff: pd.DataFrame) -> Grid:
    """Return a row for each compression on each backend, a column for each class, worst class first."""
    names = list(dict.fromkeys(classes["class"]))
    cells: dict[tuple[object, ...], dict[str, float]] = {}
    for row in records(classes):
        key = (*place_of(row), row["compression"])
        cells.setdefault(key, {})[row["class"]] = row["change_points"]
    flipped = {(*place_of(row), row["compression"]): row["answers_flipped"] for row in records(tradeoff)}
    worst = worst_classes(classes)
    rows = [
        (
            *(Entry(str(part)) for part in key),
            metric("answers_flipped", "answers_lost")({"answers_flipped": flipped.get(key)}),
            _worst(worst[key]),
            *_changes(changes, names),
        )
        for key, changes in cells.items()
        if key[-1] != "none"
    ]
    columns = ("workload", "backend", "precision", "batch", "compression", "answers flipped", "worst class")
    return Grid("classes", "Change in recall of each class vs none (pts)", (*columns, *names), tuple(rows))


def _worst(worst: Row) -> Entry:
    change = difference(worst, "change_points")
    detail = f"{change.text} ({change.detail})" if change.detail else change.text
    return Entry(str(worst["class"]), detail, change.sort)


def _changes(changes: Mapping[str, float], names: Iterable[str]) -> Iterable[Entry]:
    for name in names:
        value = changes.get(name)
        yield Entry(format_points(value), sort=value)
