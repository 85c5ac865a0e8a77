"""Formats values, counts and tables for people, and escapes characters that act on a terminal or in
Markdown."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TextIO

from bench.metrics import metric_named

_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "bytes": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "operations/s": ((1e12, "Top/s"), (1e9, "Gop/s"), (1e6, "Mop/s"), (1.0, "op/s")),
    "bytes/s": ((2.0**30, "GiB/s"), (2.0**20, "MiB/s"), (1.0, "B/s")),
    "FLOPs": ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"), (1.0, "FLOP")),
}

MAX_CHARACTERS = 500
"""The longest message. Its middle is cut: the problem is at its start, the remedy at its end."""

_KEPT_AT_END = 140
_UNBOUNDED = 100_000

# Controls but tab and line feed, marks that change the direction of text, invisible characters, halves of
# pairs, what is no character: what a terminal obeys, a reader does not see, and XML does not have.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)

_MARKUP = re.compile(r"([\\`*_\[\]|#~$!])")
_MENTION = re.compile(r"(?<!\w)@(?=\w)")


def visible(text: str) -> str:
    r"""Return text with each character that acts or hides written as an escape, as `\x1b` or `\u202e`."""
    # What is all printable has none of them, and is most of a report.
    return text if text.isprintable() else _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def escape_markdown(text: str) -> str:
    """Make text mean itself in a Markdown table: no markup, no HTML, one line, nobody mentioned."""
    text = visible(" ".join(text.split()))
    text = _MARKUP.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub("@&#8203;", text)


def one_line(text: str) -> str:
    """Return text as a message: visible, in one line, and its middle left out where it is too long."""
    line = visible(" ".join(text.split("\n")).strip())
    if len(line) <= MAX_CHARACTERS:
        return line
    end = line[-_KEPT_AT_END:]
    return f"{line[: MAX_CHARACTERS - len(end) - 3]} … {end}"


def say(text: object = "", file: TextIO | None = None) -> None:
    """Print text visibly."""
    print(visible(str(text)), file=file or sys.stdout)


def print_table(
    title: str, rows: Iterable[Sequence[str]], headings: Sequence[str] = (), *, wrap: bool = True
) -> None:
    """Print rows in columns under a title.

    A terminal's width is kept: long fields wrap, or are cut where `wrap` is false. In a file or a pipe each
    row is one line, as long as it needs to be.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)
    style = box.SIMPLE if headings else None
    table = Table(*headings, box=style, pad_edge=False)
    table.show_header = bool(headings)
    for row in rows:
        table.add_row(*map(visible, row))
    for column in table.columns:
        column.no_wrap = not wrap or not console.is_terminal
    say(title)  # not as the table's: it would be folded to the width of the columns
    if console.is_terminal:
        console.print(table)
    else:
        console.width = _UNBOUNDED
        with console.capture() as captured:
            console.print(table)
        say("\n".join(line.rstrip() for line in captured.get().splitlines()))
    say()


def three_digits(number: float) -> str:
    """Write a number with three significant digits, above 1,000 with all of its whole ones."""
    if number == 0 or abs(number) >= 999.5:
        return f"{number:,.0f}"
    return f"{number:#.3g}".rstrip(".")


def format_value(metric: str, value: float | None) -> str:
    """Write a metric's value for people: its unit scaled, three significant digits, `–` for unknown."""
    if value is None or value != value:
        return "–"
    unit = metric_named(metric).unit
    if unit == "yes/no":
        return "yes" if value else "no"
    if unit == "share":
        return f"{100 * value:.2f} %"
    if unit in ("steps", "samples", "count"):
        return f"{value:,.0f}"
    if unit in _SCALES:
        scale, name = _scale(unit, value)
        is_count = unit in ("bytes", "FLOPs") and scale == 1
        return f"{value:,.0f} {name}" if is_count else f"{three_digits(value / scale)} {name}"
    return three_digits(value) + (f" {unit}" if unit not in ("", "ratio") else "")


def _scale(unit: str, value: float) -> tuple[float, str]:
    """Return the unit that a value is written in, as a multiple of the metric's, and its name."""
    scales = _SCALES.get(unit, ((1.0, unit),))
    size = abs(value)
    for scale in scales:
        if size >= scale[0]:
            return scale
    return scales[-1]


def at_least(text: str) -> str:
    """Mark a value as a lower bound."""
    return f"≥ {text}"


def format_interval(metric: str, value: float | None, low: float | None, high: float | None) -> str:
    """Write a value with its bounds in the value's own unit: `52.3 µs (41.1 to 54.8)`."""
    text = format_value(metric, value)
    if not value or low is None or high is None:
        return text
    unit = metric_named(metric).unit
    if unit == "share":
        return f"{text} ({100 * low:.2f} to {100 * high:.2f})"
    scale, _ = _scale(unit, value)
    return f"{text} ({three_digits(low / scale)} to {three_digits(high / scale)})"


def format_points(points: float | None, digits: int = 2) -> str:
    """Write percentage points with their sign; what rounds to nothing has none."""
    if points is None:
        return "–"
    text = f"{points:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def counted(count: int, noun: str) -> str:
    """Return `1 cell`, `2 cells`, `2 launches`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith("ch") else "s")


def minute_text(seconds: float) -> str:
    """Write seconds since 1970 as a day and a minute, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def clock_text(seconds: float) -> str:
    """Write seconds as minutes and seconds, or hours and minutes."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60}:{whole % 60:02d}"
