"""Predicts a candidate from others: what a step changes in one place, it changes by as much in another.

The model is additive: of points and shares the effects of steps are added, of all else their logarithms. So a
space of steps × places is known from one row and one column of it. What a pair of steps does together is the
sum of what both do, until it has been measured.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

from bench.search.goals import Answer, is_linear
from bench.search.space import Candidate
from techniques.settings import split

Effects = Mapping[str, float]


class Additive:
    """Learns from answers, and predicts the answer of any candidate whose parts it has seen."""

    def __init__(self, metrics: tuple[str, ...]) -> None:
        self._metrics = metrics
        self._answers: dict[Candidate, Answer] = {}
        self._known: dict[str, Effects | None] = {}

    def learn(self, candidate: Candidate, answer: Answer) -> None:
        """Take up an answer, in place of an earlier one."""
        self._answers[candidate] = answer
        self._known.clear()

    def predict(self, candidate: Candidate) -> Answer | None:
        """Return the predicted answer; None where a part of the candidate is unknown or has failed."""
        bare = self._answers.get(Candidate("", *candidate.placement))
        if bare is None or bare.reason:
            return None
        if candidate.steps not in self._known:
            self._known[candidate.steps] = self._sum_of_effects(candidate.steps)
        added = self._known[candidate.steps]
        if added is None:
            return None
        values = {
            metric: _back(metric, _scaled(metric, bare.values[metric]) + added[metric])
            for metric in self._metrics
        }
        return Answer(values, bare.errors)

    def _sum_of_effects(self, steps: str) -> Effects | None:
        """Return what a chain adds: as it was measured anywhere, else the sum of what its steps do."""
        measured = any(other.steps == steps for other in self._answers)
        parts = [steps] if measured else split(steps, "+")
        effects = [self._effects(part) for part in parts if part]
        known = [entry for entry in effects if entry is not None]
        if len(known) < len(effects):
            return None
        return {metric: sum(entry[metric] for entry in known) for metric in self._metrics}

    def _effects(self, steps: str) -> Effects | None:
        """Return what steps add to each metric, averaged over the places where that is known."""
        added: defaultdict[str, list[float]] = defaultdict(list)
        for candidate, answer in self._answers.items():
            bare = self._answers.get(Candidate("", *candidate.placement))
            if candidate.steps != steps or answer.reason or bare is None or bare.reason:
                continue
            for metric in self._metrics:
                before = _scaled(metric, bare.values[metric])
                added[metric].append(_scaled(metric, answer.values[metric]) - before)
        return {metric: fmean(entries) for metric, entries in added.items()} or None


def _scaled(metric: str, value: float) -> float:
    return value if is_linear(metric) else math.log(max(value, 1e-30))


def _back(metric: str, value: float) -> float:
    return value if is_linear(metric) else math.exp(min(value, 700.0))
