"""The best way to serve a workload within limits: what fits, what may, what comes near, what it saves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.statistics import ratio_interval
from bench.errors import BenchError
from bench.matrix.limits import Limit, parse_limit
from bench.metrics import METRICS
from bench.regression.finding import Finding
from bench.regression.limits import Measured, judge
from reports.frames.candidates import Candidate, Candidates, Estimate
from reports.frames.choices import QUALITY_POINTS, preference

ESTIMATED_ENERGY = "energy_estimate_j"

OBJECTIVES = {
    "latency": ("latency_s",),
    "size": ("artifact_bytes",),
    "memory": ("peak_rss_bytes",),
    "energy": ("energy_j", ESTIMATED_ENERGY),
    "money": ("money_per_million",),
}
"""What to minimize → the columns that have it: the first one that is known of any candidate."""

_NEEDS = {
    "energy": "a processor with a counter of its energy, or [estimate] watts in the matrix",
    "money": "[prices] in the matrix",
}
"""What an objective requires that not every run has."""

LOSS = "quality_loss_points"

CALLS = 1_000_000


@dataclass(frozen=True)
class Judged:
    """A candidate, with what became of each limit."""

    candidate: Candidate
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        return all(finding.verdict == "kept" for finding in self.findings)

    @property
    def may_fit(self) -> bool:
        """Whether no limit is broken for sure."""
        return not any(finding.verdict == "broken" for finding in self.findings)


@dataclass(frozen=True)
class Advice:
    """The answer under limits. `fitting` is best first, `unsure` may fit, `misses` are nearest first.

    `assumed` says that nobody set a bound on quality, and that the first limit is that of reports.
    `untrained` were not judged: their training missed a target that others reached. `cost` is the column that
    has the objective. `ties` are fitting ones that may be as fast as the best. `relaxed` has, for each limit
    that alone keeps something out, what would fit best without it. `plain` is the uncompressed model that the
    best one's break-even is against, None where that is not measured, and where the best one is it.
    """

    found: Candidates
    limits: tuple[Limit, ...]
    assumed: bool
    untrained: tuple[Candidate, ...]
    objective: str
    cost: str
    fitting: tuple[Judged, ...]
    unsure: tuple[Judged, ...]
    misses: tuple[Judged, ...]
    ties: tuple[Candidate, ...]
    relaxed: tuple[tuple[Limit, Candidate], ...]
    plain: Candidate | None

    @property
    def best(self) -> Candidate | None:
        return self.fitting[0].candidate if self.fitting else None

    @property
    def bounded(self) -> bool:
        """Whether a limit is on quality or its loss."""
        return _bounded(self.limits)


def advise(found: Candidates, limits: Sequence[Limit], objective: str = "latency") -> Advice:
    """Judge every candidate by the limits, and pick the one that needs least of what is to be minimized.

    Where no limit is on quality or its loss, at most `QUALITY_POINTS` may be lost: the cheapest model is
    otherwise one that is worth nothing. Raises BenchError where what is to be minimized is unknown of all
    that fits: none of it is the least.
    """
    default = _default_limit(found, limits)
    limits = [*default, *limits]
    pool, untrained = _pool(found, limits)
    judged = [_judged(candidate, limits) for candidate in pool]
    cost = _column(found, objective)
    fitting = sorted((each for each in judged if each.fits), key=lambda each: _cost(each, cost))
    if fitting and fitting[0].candidate.value(cost) is None:
        needs = f"; it requires {_NEEDS[objective]}" if objective in _NEEDS else ""
        raise BenchError(f"--by {objective}: unknown of all {len(fitting):,} choices that fit{needs}")
    unsure = [each for each in judged if each.may_fit and not each.fits]
    misses = sorted((each for each in judged if not each.may_fit), key=lambda each: _distance(each, limits))
    best = fitting[0].candidate if fitting else None
    return Advice(
        found,
        tuple(limits),
        bool(default),
        tuple(untrained),
        objective,
        cost,
        tuple(fitting),
        tuple(sorted(unsure, key=lambda each: _cost(each, cost))),
        tuple(misses),
        tuple(_ties(best, fitting)) if best and objective == "latency" else (),
        () if best else tuple(_relaxed(judged, limits, cost)),
        _plain(best, found) if best else None,
    )


def _default_limit(found: Candidates, limits: Sequence[Limit]) -> list[Limit]:
    """Return the bound on what may be lost where none is set; none where no loss is known."""
    known = any(candidate.value(LOSS) is not None for candidate in found.every)
    return [parse_limit(f"{LOSS} <= {QUALITY_POINTS:g}")] if known and not _bounded(limits) else []


def _bounded(limits: Sequence[Limit]) -> bool:
    return any(limit.metric == LOSS or _of_quality(limit) for limit in limits)


def _of_quality(limit: Limit) -> bool:
    return limit.metric == "quality" or limit.metric in METRICS.qualities


def _pool(found: Candidates, limits: Sequence[Limit]) -> tuple[Sequence[Candidate], Sequence[Candidate]]:
    """Return what is judged, and what is left out since its training missed the target.

    Whoever bounds quality itself has said how good a model must be. A loss does not say it: a model that
    learned nothing has none to lose.
    """
    trained = [candidate for candidate in found.every if candidate.trained]
    if any(map(_of_quality, limits)) or not trained:
        return found.every, ()
    return trained, [candidate for candidate in found.every if not candidate.trained]


def _column(found: Candidates, objective: str) -> str:
    """Return the column to minimize: an estimate only where nothing was measured."""
    columns = OBJECTIVES[objective]
    known = (name for name in columns if any(each.value(name) is not None for each in found.every))
    return next(known, columns[0])


def _judged(candidate: Candidate, limits: Sequence[Limit]) -> Judged:
    return Judged(candidate, tuple(judge(limit, _measured(candidate, limit)) for limit in limits))


def _measured(candidate: Candidate, limit: Limit) -> Measured:
    found = candidate.values.get(limit.metric)
    if found is None:
        return Measured(candidate.name, limit.metric, reason="not measured")
    return Measured(candidate.name, limit.metric, found.value, found.low, found.high)


def _cost(judged: Judged, column: str) -> tuple[float, bool, float, float]:
    candidate = judged.candidate
    cost, latency_s = candidate.value(column), candidate.value("latency_s")
    return preference(cost, candidate.uncompressed, latency_s, candidate.value("quality"))


def _distance(judged: Judged, limits: Sequence[Limit]) -> tuple[int, float]:
    """Order misses by how many limits they break, then by how far beyond the farthest bound they are."""
    broken = [
        _excess(limit, judged.candidate.values.get(limit.metric))
        for limit, finding in zip(limits, judged.findings, strict=True)
        if finding.verdict == "broken"
    ]
    return len(broken), max(broken, default=0.0)


def _excess(limit: Limit, estimate: Estimate | None) -> float:
    """Return how far a value is beyond a bound, as a share of the bound where that is not 0."""
    if estimate is None:
        return math.inf
    beyond = estimate.value - limit.bound if "<" in limit.sign else limit.bound - estimate.value
    return beyond / abs(limit.bound) if limit.bound else beyond


def _ties(best: Candidate, fitting: Sequence[Judged]) -> list[Candidate]:
    """Return the fitting candidates whose launches do not tell that they are slower than the best.

    The same compression and backend after another training is no other choice of how to serve.
    """
    found = []
    for judged in fitting[1:]:
        other = judged.candidate
        if other.name == best.name or not other.launches_s or not best.launches_s:
            continue
        low = ratio_interval(other.launches_s, best.launches_s).low
        if low is not None and low <= 1:
            found.append(other)
    return found


def _relaxed(judged: Sequence[Judged], limits: Sequence[Limit], cost: str) -> list[tuple[Limit, Candidate]]:
    """Return, for each limit, the candidate nearest to it of those that keep all the others."""
    found = []
    for number, limit in enumerate(limits):
        others = [
            each
            for each in judged
            if all(
                finding.verdict == "kept" for place, finding in enumerate(each.findings) if place != number
            )
            and each.candidate.values.get(limit.metric) is not None
        ]
        if others:
            nearest = min(
                others,
                key=lambda each: (
                    _excess(limit, each.candidate.values.get(limit.metric)),
                    _cost(each, cost),
                ),
            )
            found.append((limit, nearest.candidate))
    return found


def _plain(best: Candidate, found: Candidates) -> Candidate | None:
    """Return the uncompressed model of the same training on the same backend, in the same precision."""
    if best.uncompressed:
        return None
    same = ("optimizer", "backend", "precision")
    twins = (each for each in found.every if each.uncompressed)
    return next((each for each in twins if all(each.axes[axis] == best.axes[axis] for axis in same)), None)
