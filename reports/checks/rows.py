"""Which findings of a comparison are listed one by one: those that say something; the rest is counted."""

from __future__ import annotations

from collections.abc import Iterator

from bench.regression.finding import Comparison, Finding, Verdict

QUIET: frozenset[Verdict] = frozenset({"no change", "kept", "not comparable"})
"""Verdicts that are only counted."""


def listed(comparison: Comparison, most: int, most_alarms: int | None = None) -> tuple[list[Finding], str]:
    """Return the findings to list, worst first, and how many more there are, in words; at most `most` of one
    verdict, of an alarm `most_alarms`, or all."""
    shown: list[Finding] = []
    left_out: list[str] = []
    for verdict, findings in _by_verdict(comparison):
        kept = findings[: most_alarms if findings[0].alarms else most]
        shown += kept
        if len(findings) > len(kept):
            left_out.append(f"{len(findings) - len(kept)} more {verdict}")
    return shown, ", ".join(left_out)


def _by_verdict(comparison: Comparison) -> Iterator[tuple[Verdict, list[Finding]]]:
    for verdict in comparison.counts:
        if verdict not in QUIET:
            yield verdict, [finding for finding in comparison.findings if finding.verdict == verdict]


def named(finding: Finding) -> str:
    """Return the stage of a finding, and its metric, if it is about one."""
    return " ".join(filter(None, (finding.stage, finding.metric)))
