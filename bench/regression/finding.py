"""What a comparison of two sides finds: one line a metric of a stage, and what all of them come to.

`bench check`, `bench ab` and limits share it, so that each output format is written once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from bench.analysis.statistics import Interval

Verdict = Literal[
    "regression",
    "lost",
    "broken",
    "improvement",
    "can't tell",
    "no change",
    "kept",
    "new",
    "not comparable",
]
"""Worst first. `lost` was measured before and is no more; `broken` and `kept` are said of a limit."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ALARMS: frozenset[Verdict] = frozenset({"regression", "lost", "broken"})
_UNTOLD: frozenset[Verdict] = frozenset({"can't tell", "not comparable"})
_UNCOMPARED = _UNTOLD | {"new"}

Code = Literal[0, 1, 3]
"""Exit code of a comparison: clean, an alarm, or, if asked for, something that it could not tell."""


@dataclass(frozen=True)
class Finding:
    """One metric of one stage, before and after.

    `ratio` is after over before, with its interval, for what is sampled. `bound` is a share of the value
    before: of *no change* the largest change that is still possible, of *can't tell* the smallest that would
    have been seen. `text` says all of it in one line. `limit` is what a limit asks for, such as "<= 0.02 s".
    """

    verdict: Verdict
    stage: str
    metric: str
    text: str
    before: float | None = None
    after: float | None = None
    ratio: Interval | None = None
    bound: float | None = None
    limit: str = ""

    @property
    def alarms(self) -> bool:
        return self.verdict in ALARMS

    def to_json(self) -> dict[str, Any]:
        """Return what JSON output has of it; numbers that are unknown are null."""
        ratio = self.ratio and {
            "value": self.ratio.value,
            "low": self.ratio.low,
            "high": self.ratio.high,
            "launches": self.ratio.n,
            "method": self.ratio.method,
        }
        return {
            **{"verdict": self.verdict, "stage": self.stage, "metric": self.metric, "text": self.text},
            **{"before": self.before, "after": self.after, "ratio": ratio, "bound": self.bound},
            **({"limit": self.limit} if self.limit else {}),
        }


@dataclass
class Comparison:
    """Everything that was found between two sides; `notes` say what made comparing harder.

    `kind` is the command: "check", "ab" or "limits". `before` and `after` name the sides as people know them:
    a baseline and a run, or two revisions.
    """

    kind: Literal["check", "ab", "limits"]
    before: str
    after: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is known to be worse, lost, or beyond a limit."""
        return not any(finding.alarms for finding in self.findings)

    @property
    def untold(self) -> list[Finding]:
        """The findings that do not say whether something got worse.

        Of limits, what is not comparable is not asked for: a cell was skipped, or has no such metric.
        """
        open_ = frozenset({"can't tell"}) if self.kind == "limits" else _UNTOLD
        return [finding for finding in self.findings if finding.verdict in open_]

    @property
    def blind(self) -> bool:
        """Whether there are findings and none of them says whether something got worse."""
        return bool(self.findings) and all(finding.verdict in _UNCOMPARED for finding in self.findings)

    def exit_code(self, strict: bool = False) -> Code:
        """Return 0 (nothing is known to be worse), 1 (an alarm), or 3 where it is `strict` and can't tell."""
        if not self.clean:
            return 1
        return 3 if strict and (self.untold or self.blind) else 0

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many findings have each verdict, worst first, those that occur."""
        found = Counter(finding.verdict for finding in self.findings)
        return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}

    def worst_first(self) -> Iterator[Finding]:
        """Yield the findings by verdict; of one verdict, in the order in which they were found."""
        for verdict in self.counts:
            yield from (finding for finding in self.findings if finding.verdict == verdict)

    @property
    def summary(self) -> str:
        """What it comes to, in one line."""
        what = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items())
        return f"{self.after} against {self.before}: {self._outcome}" + (f" ({what})" if what else "")

    @property
    def _outcome(self) -> str:
        """Clean is only what was seen: who is blind must not say so."""
        if not self.clean:
            return "LIMIT BROKEN" if self.kind == "limits" else "REGRESSION"
        if self.blind or not self.findings:
            return "nothing could be compared"
        nothing = "no limit broken" if self.kind == "limits" else "no regression found"
        return f"{nothing}, but not all can be told" if self.untold else "clean"

    def to_json(self, strict: bool = False) -> dict[str, Any]:
        """Return what JSON output has."""
        return {
            **{"kind": self.kind, "before": self.before, "after": self.after, "clean": self.clean},
            **{
                "untold": len(self.untold),
                "exit_code": self.exit_code(strict),
                "counts": dict(self.counts),
                "notes": self.notes,
            },
            "findings": [finding.to_json() for finding in self.findings],
        }
