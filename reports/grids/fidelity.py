"""Tables for people on what compression does to outputs: by test item, by group, under corruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from bench.formatting import format_points, format_value, three_digits
from reports.grids.cell import UNKNOWN, Column, Entry, Row, bounds, metric, plain, points
from reports.grids.compression import difference
from reports.grids.grid import Grid, build_grid


def fidelity_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the tables of the frames `fidelity`, `groups`, `gaps`, `robustness` and `attributions`."""
    found = []
    for name, title, columns in _GRIDS:
        if name not in frames:
            continue
        frame = frames[name]
        if name == "groups":
            frame = frame[frame["flagged"].astype(bool)]
        found.append(build_grid(name, title, columns, frame))
    return found


def _calibrated(name: str) -> Callable[[Row], Entry]:
    """Show a measure of calibration with its interval, after that of the uncompressed model."""

    def make(row: Row) -> Entry:
        value, before = row[name], row[f"{name}_uncompressed"]
        if value is None:
            return Entry(UNKNOWN)
        first = UNKNOWN if before is None else format_value(name, before)
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        interval = "" if low is None or high is None else bounds(name, low, high)
        return Entry(f"{first} → {format_value(name, value)}", interval, value)

    return make


def _p(key: str) -> Callable[[Row], Entry]:
    """Show a p; one below a thousandth only as that."""

    def make(row: Row) -> Entry:
        value = row[key]
        if value is None:
            return Entry(UNKNOWN)
        return Entry("< 0.001" if value < 0.001 else three_digits(value), sort=value)

    return make


def _worst(row: Row) -> Entry:
    if row["worst_group_points"] is None:
        return Entry(UNKNOWN)
    text = f"{row['worst_column']} {row['worst_group']}"
    return Entry(text, f"{format_points(row['worst_group_points'])} points", row["worst_group_points"])


def _flagged(row: Row) -> Entry:
    count = row["groups_flagged"]
    if count is None:
        return Entry(UNKNOWN)
    return Entry(f"{int(count)} of {int(row['groups_tested'])}", sort=count, mark="bad" if count else "")


def _agreement(row: Row) -> Entry:
    value, low, high = (row[f"agreement{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return Entry(UNKNOWN)
    known = low is not None and high is not None
    interval = f"{three_digits(low)} to {three_digits(high)}" if known else ""
    return Entry(three_digits(value), interval, value, low=low, high=high)


def _times(key: str) -> Callable[[Row], Entry]:
    return lambda row: Entry(UNKNOWN if row[key] is None else f"{three_digits(row[key])}×", sort=row[key])


_CELL: tuple[Column, ...] = (("workload", plain("workload")), ("cell", plain("cell")))

FIDELITY: tuple[Column, ...] = (
    *_CELL,
    ("metric", plain("paired_metric")),
    ("quality", metric("quality")),
    ("loss vs none, same items (pts)", lambda row: difference(row, "paired_loss_points")),
    ("p", _p("p_value")),
    ("items", metric("items", "test_samples")),
    ("items lost", metric("items_lost", "test_samples")),
    ("items won", metric("items_won", "test_samples")),
    ("KL divergence", metric("kl_divergence")),
    ("top-5 agreement", metric("top5_agreement")),
    ("calibration error (ECE)", _calibrated("ece")),
    ("Brier score", _calibrated("brier")),
    ("negative log-likelihood", _calibrated("nll")),
    ("loses most (pts)", _worst),
    ("groups that lose", _flagged),
)

_GRIDS: tuple[tuple[str, str, tuple[Column, ...]], ...] = (
    ("fidelity", "What each compression does to outputs, on the same test items and backend", FIDELITY),
    (
        "groups",
        "Groups that lose quality (false discoveries at most 5 %)",
        (
            *_CELL,
            ("column", plain("column")),
            ("group", plain("group")),
            ("items", metric("items", "test_samples")),
            ("loss vs none (pts)", lambda row: difference(row, "loss_points")),
            ("p", _p("p_value")),
            ("q", _p("q_value")),
        ),
    ),
    (
        "gaps",
        "Best group less worst group, by column of the data (pts)",
        (
            *_CELL,
            ("column", plain("column")),
            ("groups", metric("groups", "test_samples")),
            ("gap", points("gap_points")),
            ("gap of none", points("gap_points_uncompressed")),
        ),
    ),
    (
        "robustness",
        "Quality on corrupted test items, relative to the same items clean",
        (
            *_CELL,
            ("corruption", plain("corruption")),
            ("quality", metric("quality")),
            ("clean", metric("quality_clean", "quality")),
            ("corrupted / clean", _times("relative_quality")),
            ("of none", _times("relative_quality_uncompressed")),
            ("change (pts)", lambda row: difference(row, "change_points")),
            ("q", _p("q_value")),
        ),
    ),
    (
        "attributions",
        "Rank agreement of attributions with the uncompressed model's",
        (
            *_CELL,
            ("items", plain("of_items")),
            ("number", metric("items", "test_samples")),
            ("agreement (Spearman)", _agreement),
        ),
    ),
)
