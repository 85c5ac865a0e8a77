"""The fields of tables for people: how each kind of value is written, and what it sorts by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bench.formatting import at_least, counted, format_interval, format_points, format_value, three_digits
from bench.metrics import metric_named

UNKNOWN = "–"
PRELIMINARY = "†"
LEGEND = (
    "† preliminary: fewer than 6 launches, all disturbed, or a wide interval as the time budget was spent. "
    "Disturbed launches are repeated and excluded. "
    "◆ on the Pareto front of quality and latency, ◇ of quality and compressed size. – unknown. "
    "≥ lower bound: the FLOP count is incomplete, it lacks the operators named. "
    "Intervals are 95 %. The command bench show KEY prints the record of a key."
)

_MAX_DETAIL = 100
AFTER_ALL = 1e300
"""Censored values sort after all others."""

Row = Mapping[str, Any]


class Entry(NamedTuple):
    """One field of a table: `text`, a second line `detail`, the value to sort by, and a mark (a CSS class).

    `brief` replaces both lines in a terminal, which has room for one short line. `low` and `high` are the
    bounds of the interval that `detail` tells, in the unit of `sort`.
    """

    text: str
    detail: str = ""
    sort: float | None = None
    mark: str = ""
    brief: str = ""
    low: float | None = None
    high: float | None = None


Column = tuple[str, Callable[[Row], Entry]]


def plain(key: str) -> Callable[[Row], Entry]:
    """Show a value as it is."""

    def make(row: Row) -> Entry:
        value = row[key]
        known = value is not None and value != ""
        return Entry(str(value) if known else UNKNOWN, sort=value if isinstance(value, int | float) else None)

    return make


def metric(key: str, name: str = "") -> Callable[[Row], Entry]:
    """Show a value formatted as its metric."""
    return lambda row: Entry(format_value(name or key, row[key]), sort=row[key])


def of_count(key: str, name: str = "") -> Callable[[Row], Entry]:
    """Show a number derived from a count of FLOPs; where the count is incomplete, it is a lower bound."""

    def make(row: Row) -> Entry:
        lacking, value = row["flops_incomplete"], row[key]
        counts = metric_named(key).operations
        if not lacking or (counts and key not in row.get("flops_incomplete_in", key)):
            return metric(key, name)(row)
        why = shortened(lacking.removeprefix("no formula for "), _MAX_DETAIL)
        if value is None:
            return Entry(UNKNOWN, why if counts else "")
        return Entry(at_least(format_value(name or key, value)), f"incomplete: {why}", value)

    return make


def mfu(row: Row) -> Entry:
    """Show a training step's MFU with its interval; a lower bound where the model's own count is incomplete.

    What the optimizer's count lacks is no part of it.
    """
    lacking = row["flops_incomplete_in"]
    whole = lacking and not any(f"{part}_flops" in lacking for part in ("forward", "backward"))
    return with_bounds(metric("utilization") if whole else of_count("utilization"), "utilization")(row)


def with_bounds(make: Callable[[Row], Entry], key: str, name: str = "") -> Callable[[Row], Entry]:
    """Add the interval to what `make` shows, from the columns `key_low` and `key_high`, where it has room."""

    def made(row: Row) -> Entry:
        entry, low, high = make(row), row[f"{key}_low"], row[f"{key}_high"]
        if entry.detail or low is None or high is None:
            return entry
        return entry._replace(detail=bounds(name or key, low, high), low=low, high=high)

    return made


def binds(row: Row) -> Entry:
    """Show which ceiling limits a call, or why that is unknown."""
    if row["roofline_binds"] is None and row["flops_incomplete"] and row["achieved_operations_per_s"]:
        return Entry(UNKNOWN, "FLOPs are incomplete")
    return plain("roofline_binds")(row)


def shortened(text: str, most: int) -> str:
    """Return a text cut to at most this many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def points(key: str) -> Callable[[Row], Entry]:
    """Show a difference in percentage points."""
    return lambda row: Entry(format_points(row[key]), sort=row[key])


def signed_share(key: str) -> Callable[[Row], Entry]:
    """Show a relative difference in percent."""
    return lambda row: Entry(UNKNOWN if row[key] is None else f"{100 * row[key]:+.1f} %", sort=row[key])


def timing(key: str, name: str) -> Callable[[Row], Entry]:
    """Show a time with its interval, launches and preliminary mark; `key` lacks the unit."""

    def make(row: Row) -> Entry:
        value, low, high = row[f"{key}_s"], row[f"{key}_low_s"], row[f"{key}_high_s"]
        if value is None:
            return Entry(UNKNOWN)
        mark = PRELIMINARY if row[f"{key}_preliminary"] else ""
        launches = counted(int(row[f"{key}_launches"]), "launch")
        if row.get(f"{key}_disturbed"):
            launches += f", {int(row[f'{key}_disturbed'])} disturbed"
        brief = format_interval(name, value, low, high) + mark
        detail = f"{_interval(name, low, high)}, {launches}"
        return Entry(format_value(name, value) + mark, detail, value, brief=brief, low=low, high=high)

    return make


def _interval(name: str, low: float | None, high: float | None) -> str:
    return "no interval" if low is None else bounds(name, low, high)


def bounds(name: str, low: float | None, high: float | None) -> str:
    """Write a range of a metric's values; a unit that both share is written once: `34.1 to 36.2 µs`."""
    first, last = format_value(name, low), format_value(name, high)
    number, _, unit = first.partition(" ")
    return f"{number if last.endswith(f' {unit}') else first} to {last}"


def estimated(key: str) -> Callable[[Row], Entry]:
    """Show an estimated energy and the method of the estimate."""
    return lambda row: Entry(
        format_value("energy_j", row[key]), row["energy_estimate_method"] or "", row[key]
    )


def money(key: str) -> Callable[[Row], Entry]:
    """Show a cost, the price table's name and the parts of the cost."""
    return lambda row: Entry(
        UNKNOWN if row[key] is None else three_digits(row[key]), row["money_method"] or "", row[key]
    )


def keys(*names: str) -> Callable[[Row], Entry]:
    """Show the first 12 characters of stage keys, each with its stage."""

    def make(row: Row) -> Entry:
        lines = [f"{name.removesuffix('_key')} {row[name][:12]}" for name in names if row[name]]
        return Entry("", "\n".join(lines), mark="key")

    return make


def state(row: Row) -> Entry:
    text = str(row["state"])
    return Entry(text, str(row.get("reason") or ""), mark="" if text in ("ok", "pending") else "bad")


def reached(row: Row) -> Entry:
    if row["censored"]:
        text = f"> {format_value('steps_to_target', row['steps_trained'])}"
        return Entry(text, "censored", AFTER_ALL, "bad")
    return metric("steps_to_target")(row)


def gap(row: Row) -> Entry:
    if row["time_gap"] is None:
        return Entry(UNKNOWN)
    mark = "bad" if row["time_gap_flagged"] else ""
    return Entry(f"{100 * row['time_gap']:+.1f} %", "over 5 %" if mark else "", row["time_gap"], mark)


def speedup(row: Row) -> Entry:
    """Show a speedup with its interval."""
    value, low, high = row["speedup"], row["speedup_low"], row["speedup_high"]
    if value is None:
        return Entry(UNKNOWN)
    mark = PRELIMINARY if row["latency_preliminary"] and low != high else ""
    if low is None or low == high:
        return Entry(f"{three_digits(value)}×{mark}", sort=value)
    brief = f"{three_digits(value)}×{mark} ({three_digits(low)} to {three_digits(high)})"
    interval = f"{three_digits(low)} to {three_digits(high)}"
    return Entry(f"{three_digits(value)}×{mark}", interval, value, brief=brief, low=low, high=high)


def yes(key: str) -> Callable[[Row], Entry]:
    return lambda row: Entry(UNKNOWN if row[key] is None else "yes" if row[key] else "no")


def front(row: Row) -> Entry:
    text = ("◆" if row["pareto"] else "") + ("◇" if row["pareto_size"] else "")
    return Entry(text, sort=-len(text), mark="front" if text else "")


def without_training(row: Row) -> Entry:
    value = row["baseline_quality"]
    text = f"{format_value('quality', value)} ({row['without_training']})"
    return Entry(UNKNOWN) if value is None else Entry(text, sort=value)


def quality_metric(row: Row) -> Entry:
    """Show which metric the quality of a row is."""
    name = row["quality_metric"]
    return Entry(metric_named(name).label if name else UNKNOWN)


def other_metrics(columns: Mapping[str, str]) -> Callable[[Row], Entry]:
    """Show further metrics, given as column → metric, without the one that `quality` already shows."""

    def make(row: Row) -> Entry:
        known = ((name, row[key]) for key, name in columns.items() if name != row["quality_metric"])
        found = [
            (metric_named(name).label, format_value(name, value))
            for name, value in known
            if value is not None
        ]
        return Entry(", ".join(f"{label} {text}" for label, text in found))

    return make
