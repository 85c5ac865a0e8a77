"""`report.md`: the same report in brief, with links to plots and raw tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.formatting import escape_markdown as escape
from reports.content import Content
from reports.formats.table import FORMATS, File
from reports.grids.cell import LEGEND, Entry
from reports.grids.grid import Grid

_MAX_NAMES, _MAX_ROWS = 5, 500
"""Names of one field, and rows of a table: code hosts show no longer files."""

# Columns of the widest tables that Markdown has no room for; the page and the raw tables have them.
_LEFT_OUT = {
    "training": {
        "throughput",
        "forward FLOPs",
        "backward FLOPs",
        "recomputed FLOPs",
        "optimizer FLOPs",
        "resident growth",
    },
    "inference": {
        *("optimizer", "compression", "backend"),  # the cell's name has them
        *("interval within target", "variation within launches", "between launches", "fastest"),
        *(
            "effective samples",
            "p90",
            "p99",
            "throughput",
            "size on disk",
            "resident growth",
            "GPU allocated",
            "FLOPs dense",
        ),
        *("FLOPs effective", "parameters", "non-zero", "agreement with its model"),
    },
}


def render(content: Content) -> Iterator[File]:
    """Yield the one file."""
    yield "report.md", render_markdown(content).encode()


def render_markdown(content: Content) -> str:
    """Return the report as Markdown; links to its other files are relative to its folder."""
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Content) -> Iterator[str]:
    yield f"# {escape(content.title)}"
    yield ""
    yield from (f"- {escape(sentence)}" for sentence in content.verdict)
    yield ""
    yield from (f"- {name}: {escape(value)}" for name, value in content.about)
    for answer in content.answers:
        yield from ("", f"## {escape(answer.question)}", "")
        yield from (f"- {escape(sentence)}" for sentence in answer.sentences)
    for plot in content.plots:
        yield from ("", f"## {escape(plot.title)}", "", f"![{escape(plot.title)}](plots/{plot.name}.svg)", "")
        yield escape(plot.caption)
    if content.left_out:
        yield from ("", escape(content.left_out))
    yield from ("", escape(LEGEND))
    for grid in content.grids:
        yield from ("", f"## {escape(grid.title)}", "")
        if grid.name in content.captions:
            yield from (escape(content.captions[grid.name]), "")
        yield from _table(grid)
        if grid.name in content.frames and not content.alone and not content.left_out:
            yield from ("", f"Raw numbers: [tables/{grid.name}.csv](tables/{grid.name}.csv)")
    yield from ("", "## Skipped and failed", "")
    if not content.problems:
        yield "Nothing."
    for grid in content.problems:
        yield from (f"### {escape(grid.title)}", "", *_table(grid), "")
    yield from ("", f"## {content.environment.title}", "", *_table(content.environment))


def _table(grid: Grid) -> Iterator[str]:
    if grid.shared:
        yield "All rows: " + escape(", ".join(f"{name} {value}" for name, value in grid.shared))
        yield ""
    if grid.left_out:
        yield escape(grid.left_out)
        yield ""
    left_out = _LEFT_OUT.get(grid.name, set())
    kept = [index for index, heading in enumerate(grid.columns) if heading not in left_out]
    yield _row(escape(grid.columns[index]) for index in kept)
    yield _row("---" for _ in kept)
    yield from (_row(_field(row[index]) for index in kept) for row in grid.rows[:_MAX_ROWS])
    if len(grid.rows) > _MAX_ROWS:
        yield from ("", f"The first {_MAX_ROWS:,} of {len(grid.rows):,} rows.")


def _row(fields: Iterable[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _field(entry: Entry) -> str:
    if entry.mark == "list":
        names = entry.detail.splitlines()
        more = f", and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        return escape(", ".join(names[:_MAX_NAMES]) + more)
    if not entry.text:
        return escape(entry.detail.replace("\n", ", "))
    return escape(entry.text + (f" ({entry.detail})" if entry.detail else ""))


FORMATS.add(
    "markdown", render, about="report.md: the report in brief, for a terminal or a code host", draws=False
)
