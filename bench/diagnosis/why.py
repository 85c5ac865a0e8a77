"""Why a compressed model is not faster than the uncompressed one on the same backend, or why it is.

One function a cause: it returns what the evidence says for it, or None. A cause is as strong as the share of
the time that it accounts for. Source of the bounds by arithmetic and memory: Williams, Waterman & Patterson
2009, "Roofline"; of what a part of the time can bring: Amdahl 1967.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.diagnosis.cause import FASTER, TOLD_BY_ONE_LAUNCH, Cause, percent
from bench.diagnosis.evidence import Evidence
from bench.diagnosis.faster import FOR_FASTER
from bench.diagnosis.not_faster import FOR_NOT_FASTER
from bench.formatting import counted, three_digits

Verdict = Literal["faster", "not faster", "can't tell", "unknown"]


@dataclass(frozen=True)
class Answer:
    """A verdict, one sentence with its strongest cause, and all causes, strongest first."""

    verdict: Verdict
    sentence: str
    causes: tuple[Cause, ...] = ()


def explain(evidence: Evidence) -> Answer:
    """Say in one sentence why a cell is not faster than its uncompressed twin, or why it is."""
    if evidence.problem:
        return _of_a_problem(evidence)
    if evidence.compression == "none":
        return Answer("unknown", "this is the uncompressed model, which the others are compared with")
    if evidence.plain is None or evidence.speedup is None:
        where = f"{evidence.backend}, {evidence.precision}, batch {evidence.batch_size}"
        return Answer("unknown", f"nothing to compare with: the run has no timing of none on {where}")
    found, causes = _verdict(evidence), _causes(evidence)
    if found == "can't tell":
        causes.insert(0, _interval(evidence))
    strongest = causes[0].sentence if causes else _nothing(evidence)
    return Answer(found, strongest, tuple(causes))


def _of_a_problem(evidence: Evidence) -> Answer:
    """Say why a cell has no valid timing, and what its record suggests all the same."""
    known = evidence.speedup is not None and evidence.compression != "none"
    causes = _causes(evidence) if known else []
    suggested = f"; the record suggests: {causes[0].sentence}" if causes else ""
    return Answer("unknown", f"{evidence.problem}{suggested}", tuple(causes))


def _causes(evidence: Evidence) -> list[Cause]:
    """Return the causes that the evidence has, strongest first."""
    rules = FOR_FASTER if (evidence.speedup or 0.0) >= FASTER else FOR_NOT_FASTER
    return sorted((cause for rule in rules if (cause := rule(evidence))), key=lambda cause: -cause.share)


def _verdict(evidence: Evidence) -> Verdict:
    speedup = evidence.speedup
    assert speedup is not None
    if evidence.same_timing:
        return "not faster"
    if evidence.low is None or evidence.high is None:
        told = not 1 / TOLD_BY_ONE_LAUNCH < speedup < TOLD_BY_ONE_LAUNCH
    else:
        told = evidence.low > 1 if speedup >= FASTER else evidence.high < FASTER
    return ("faster" if speedup >= FASTER else "not faster") if told else "can't tell"


def _interval(evidence: Evidence) -> Cause:
    launches = counted(evidence.launches, "launch")
    bounds = (
        f"no interval, {launches}"
        if evidence.low is None or evidence.high is None
        else f"{three_digits(evidence.low)} to {three_digits(evidence.high)}, {launches}"
    )
    sentence = f"the launches do not tell whether it is faster ({bounds}): run more of them"
    return Cause("interval", sentence, bounds, 1.0)


def _nothing(evidence: Evidence) -> str:
    if not evidence.own.operators:
        why = f" ({evidence.own.unprofiled})" if evidence.own.unprofiled else ""
        return f"nothing in the record accounts for it: it has no profile of operators{why}"
    shares = (f"{kind} {percent(evidence.own.share(kind))}" for kind in ("low", "full", "other", "call"))
    return f"no single cause: {', '.join(shares)} of the time"
