"""A comparison for a terminal: the notes, a line for each finding that says something, and the counts.

Limits are all listed.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.regression.finding import Comparison
from reports.checks.rows import listed, named

MAX_OF_A_VERDICT = 20


def lines(comparison: Comparison) -> Iterator[str]:
    """Yield the lines, worst findings first, the summary last."""
    yield from (f"note: {note}" for note in comparison.notes)
    if comparison.kind == "limits":
        shown, left_out = list(comparison.worst_first()), ""  # who asks for limits asks for all of them
    else:
        shown, left_out = listed(comparison, MAX_OF_A_VERDICT)
    width = max((len(finding.verdict) for finding in shown), default=0)
    for finding in shown:
        yield f"{finding.verdict:<{width}}  {named(finding)}: {finding.text}"
    if left_out:
        yield f"and {left_out}; --json FILE has them all"
    yield comparison.summary
