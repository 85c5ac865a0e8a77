"""A comparison as annotations of GitHub's Actions: lines that the runner reads from a step's output.

Source: GitHub Docs, "Workflow commands for GitHub Actions". A step shows ten annotations of a kind.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence

from bench.formatting import visible
from bench.regression.finding import Comparison, Finding
from reports.checks.rows import named

MAX_OF_A_KIND = 10


def as_text(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines so that the runner takes none of them for a command, whatever names they hold.

    The word that ends it is random: no name can know it.
    """
    word = secrets.token_hex(16)
    yield f"::stop-commands::{word}"
    yield from lines
    yield f"::{word}::"


def lines(comparison: Comparison) -> Iterator[str]:
    """Yield an error for each alarm, and one warning for all that can't be told."""
    alarms = [finding for finding in comparison.worst_first() if finding.alarms]
    kept = alarms if len(alarms) <= MAX_OF_A_KIND else alarms[: MAX_OF_A_KIND - 1]
    for finding in kept:
        yield annotation("error", f"{finding.verdict}: {named(finding)}", finding.text)
    if len(alarms) > len(kept):
        yield annotation("error", f"{len(alarms) - len(kept)} more", _names(alarms[len(kept) :]))
    unknown = comparison.untold
    if unknown:
        title = f"can't tell: {len(unknown)} of {len(comparison.findings)}"
        yield annotation("warning", title, _names(unknown))


def annotation(kind: str, title: str, message: str) -> str:
    """Return an annotation in one line, whatever its texts hold."""
    return f"::{kind} title={_property(title)}::{_data(message)}"


def _names(findings: Sequence[Finding]) -> str:
    lines = [f"{named(finding)}: {finding.text}" for finding in findings[:MAX_OF_A_KIND]]
    more = len(findings) - len(lines)
    return "\n".join([*lines, *([f"and {more} more"] if more else [])])


def _data(text: str) -> str:
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
