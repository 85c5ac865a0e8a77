"""A comparison as Markdown, for the summary of a CI job or a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from bench.formatting import escape_markdown as escape
from bench.regression.finding import Comparison
from reports.checks.rows import listed

MAX_OF_A_VERDICT = 50

MAX_ALARMS = 500
"""Of one verdict: a summary of over 1 MiB is shown nowhere by GitHub."""

_TITLES = {"check": "Benchmark check", "ab": "Benchmark comparison", "limits": "Benchmark limits"}


def render(comparison: Comparison) -> str:
    """Return the whole text, which ends in a line feed."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield from (f"## {_TITLES[comparison.kind]}", "", f"**{escape(comparison.summary)}**")
    if comparison.notes:
        yield ""
        yield from (f"- {escape(note)}" for note in comparison.notes)
    shown, left_out = listed(comparison, MAX_OF_A_VERDICT, MAX_ALARMS)
    if shown:
        yield from ("", "| verdict | stage | metric | finding |", "| --- | --- | --- | --- |")
    for finding in shown:
        verdict = f"**{finding.verdict}**" if finding.alarms else finding.verdict
        fields = (verdict, escape(finding.stage), escape(finding.metric), escape(finding.text))
        yield f"| {' | '.join(fields)} |"
    if left_out:
        yield from ("", f"And {left_out}.")
