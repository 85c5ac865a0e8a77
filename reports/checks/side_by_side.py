"""Runs side by side as a table for people, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench.formatting import escape_markdown as escape
from bench.formatting import format_interval, format_value, three_digits
from bench.metrics import metric_named
from bench.regression.baseline import COMPARED, metric_of
from bench.regression.finding import Finding
from bench.regression.side_by_side import Row, Side, SideBySide, Value
from reports.checks.json import finite
from reports.grids.cell import UNKNOWN, Entry, bounds
from reports.grids.grid import Grid

HEADLINES = (
    *COMPARED,
    *("quality", "steps_to_target", "artifact_bytes", "artifact_compressed_bytes"),
    *("peak_rss_bytes", "peak_tensor_bytes", "tokens_per_s", "energy_j"),
)
"""Metrics that the short table has; the page has all."""

MAX_ROWS = 40

_WORDS = {
    "regression": "worse",
    "improvement": "better",
    "no change": "same",
    "lost": "not measured",
    "can't tell": "can't tell",
    "not comparable": "not comparable",
}
_MARKS = {"regression": "bad", "lost": "bad", "improvement": "front"}


MAX_PAGE_ROWS = 5000


def page_grid(found: SideBySide) -> Grid:
    """Return the table of the page, rows with a verdict that says most first; at most `MAX_PAGE_ROWS`.

    Each later run has its value, how many times the first one's that is, and the verdict.
    """
    order = {verdict: number for number, verdict in enumerate(found.counts)}
    rows = sorted(found.rows, key=lambda row: order.get(row.verdict, len(order)))
    first, *others = (side.name for side in found.sides)
    several = len(others) > 1
    columns = [
        heading
        for name in others
        for heading in (name, *(f"{what}: {name}" if several else what for what in ("change", "verdict")))
    ]
    entries = tuple(
        (
            Entry(row.stage),
            Entry(_metric(row.metric)),
            _bounded(row.metric, row.values[0]),
            *(entry for value in row.values[1:] for entry in _compared(row.metric, value)),
        )
        for row in rows[:MAX_PAGE_ROWS]
    )
    return Grid("compared", f"Compared with {first}", ("stage", "metric", first, *columns), entries)


def _compared(metric: str, value: Value | None) -> tuple[Entry, Entry, Entry]:
    """Return a later run's value, its ratio to the first one's with its interval, and the verdict."""
    if value is None or value.finding is None:
        return _bounded(metric, value), Entry(UNKNOWN), Entry(UNKNOWN)
    finding, ratio = value.finding, value.finding.ratio
    if ratio is not None and ratio.low is not None and ratio.high is not None:
        between = f"{three_digits(ratio.low)} to {three_digits(ratio.high)}"
        times = f"{three_digits(ratio.value)}×"
        change = Entry(times, between, ratio.value, low=ratio.low, high=ratio.high)
        verdict = _verdict(finding)
    else:
        change, verdict = _exact_ratio(finding), _exact(finding)
    mark = _MARKS.get(finding.verdict, "")
    return _bounded(metric, value), change, Entry(verdict or UNKNOWN, mark=mark)


def _exact_ratio(finding: Finding) -> Entry:
    before, after = finding.before, finding.after
    if before is None or after is None or before <= 0 or finding.verdict == "not comparable":
        return Entry(UNKNOWN)
    return Entry(f"{three_digits(after / before)}×", sort=after / before)


def _bounded(metric: str, value: Value | None) -> Entry:
    """Return a value with its interval on hover and behind it."""
    if value is None:
        return Entry(UNKNOWN)
    name = metric_of(metric)
    text = format_value(name, value.value)
    if value.low is None or value.high is None:
        return Entry(text, sort=value.value)
    return Entry(text, bounds(name, value.low, value.high), value.value, low=value.low, high=value.high)


def short_grid(found: SideBySide, most: int = MAX_ROWS) -> Grid:
    """Return the table for a terminal: headlines that all runs have, the largest changes, at most so many.

    It says what it leaves out.
    """
    own = [row for row in found.rows if metric_of(row.metric) in HEADLINES and None not in row.values]
    order = {name: number for number, name in enumerate(HEADLINES)}
    own.sort(key=lambda row: (-row.largest_change, order[metric_of(row.metric)]))
    grid, few = _grid(found, own[:most]), len(own[:most])
    others = len(found.rows) - few
    if not others:
        return grid
    largest = (
        f"the {few:,} largest changes of {len(own):,} headline values" if few < len(own) else "headlines"
    )
    return replace(grid, left_out=f"shown: {largest}; the page has {others:,} more values")


def sides_grid(found: SideBySide) -> Grid:
    """Return the table of the runs: their matrix, machine, commit and libraries."""
    columns = ("run", "matrix", "machine", "commit", "Python", "PyTorch")
    rows = tuple(tuple(map(Entry, _side(side))) for side in found.sides)
    return Grid("sides", "Runs", columns, rows)


def _side(side: Side) -> Iterator[str]:
    libraries = side.environment.get("libraries") or side.environment.get("versions") or {}
    yield from (side.name, side.matrix, side.machine, side.revision or UNKNOWN)
    yield str(side.environment.get("python") or UNKNOWN)
    yield str(libraries.get("torch") or UNKNOWN)


def _grid(found: SideBySide, rows: Sequence[Row]) -> Grid:
    names = [side.name for side in found.sides]
    entries = tuple(
        (Entry(row.stage), Entry(_metric(row.metric)), *(_entry(row.metric, value) for value in row.values))
        for row in rows
    )
    first, *others = names
    title = f"Compared with {first}"
    return Grid("compared", title, ("stage", "metric", first, *others), entries)


def _metric(name: str) -> str:
    label, qualifier = metric_named(metric_of(name)).label, name[len(metric_of(name)) :]
    return f"{label} {qualifier}".strip()


def _entry(metric: str, value: Value | None) -> Entry:
    if value is None:
        return Entry(UNKNOWN)
    name = metric_of(metric)
    text = format_interval(name, value.value, value.low, value.high)
    if value.finding is None:
        return Entry(text, sort=value.value)
    mark = _MARKS.get(value.finding.verdict, "")
    return Entry(text, words(value.finding), value.value, mark)


def words(finding: Finding) -> str:
    """Say how a value compares with that of the first run: the ratio with its interval, and the verdict."""
    ratio = finding.ratio
    if ratio is None or ratio.low is None or ratio.high is None:
        return _exact(finding)
    interval = f"×{three_digits(ratio.value)} ({three_digits(ratio.low)} to {three_digits(ratio.high)})"
    return f"{interval}, {_verdict(finding)}"


def _verdict(finding: Finding) -> str:
    bound = "" if finding.bound is None else f"{100 * finding.bound:.1f} %"
    if finding.verdict == "no change":
        return f"no change larger than {bound}"
    if finding.verdict == "can't tell" and bound:
        return f"can't tell (would have seen {bound})"
    slower = metric_named(metric_of(finding.metric)).unit == "s"
    timed = {"regression": "slower", "improvement": "faster"} if slower else {}
    return timed.get(finding.verdict, _WORDS.get(finding.verdict, finding.verdict))


def _exact(finding: Finding) -> str:
    word = _WORDS.get(finding.verdict, finding.verdict)
    before, after = finding.before, finding.after
    if finding.verdict == "not comparable" or (finding.verdict == "can't tell" and finding.text):
        return f"{word}: {finding.text}"
    if before is None and after is None:
        return ""
    if before and after is not None and before > 0 and finding.verdict in ("regression", "improvement"):
        return f"{word} ({100 * (after / before - 1):+.2f} %)"
    return word


def summary(found: SideBySide) -> str:
    """Say what the comparison comes to, in one line."""
    counts = ", ".join(f"{count:,} {_WORDS.get(verdict, verdict)}" for verdict, count in found.counts.items())
    return f"{len(found.rows):,} values of {len(found.sides)} runs: {counts or 'nothing compared'}"


def as_markdown(found: SideBySide) -> str:
    """Return the runs, the notes and the short table as Markdown."""
    return "\n".join(_markdown(found)) + "\n"


def _markdown(found: SideBySide) -> Iterator[str]:
    yield from ("## Runs side by side", "", f"**{escape(summary(found))}**", "")
    yield from _table(sides_grid(found))
    yield from ("", *(f"- {escape(note)}" for note in found.notes))
    yield ""
    short = short_grid(found)
    yield from _table(short)
    yield from ("", escape(short.left_out)) if short.left_out else ()


def _table(grid: Grid) -> Iterator[str]:
    yield f"| {' | '.join(map(escape, grid.columns))} |"
    yield f"|{' --- |' * len(grid.columns)}"
    for row in grid.rows:
        yield f"| {' | '.join(escape(' '.join(filter(None, (e.text, e.detail)))) for e in row)} |"


def as_json(found: SideBySide) -> bytes:
    """Return every value as JSON, in the metric's unit; a number that is not finite is null."""
    document = {
        "runs": [
            {
                **{"name": side.name, "run": side.run_id, "matrix": side.matrix, "machine": side.machine},
                **{"revision": side.revision, "environment": side.content["environment"]},
            }
            for side in found.sides
        ],
        "counts": dict(found.counts),
        "notes": list(found.notes),
        "rows": [_row(row) for row in found.rows],
    }
    return (json.dumps(finite(document), ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def _row(row: Row) -> dict[str, Any]:
    return {
        "stage": row.stage,
        "metric": row.metric,
        "unit": metric_named(metric_of(row.metric)).unit,
        "verdict": row.verdict or None,
        "values": [None if value is None else _value(row.metric, value) for value in row.values],
    }


def _value(metric: str, value: Value) -> dict[str, Any]:
    return {
        **{"value": value.value, "low": value.low, "high": value.high, "launches": value.launches},
        "text": format_value(metric_of(metric), value.value),
        "finding": None if value.finding is None else value.finding.to_json(),
    }
