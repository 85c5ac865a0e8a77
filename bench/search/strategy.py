"""The search: a look at each place and each step, then at what they promise together, then at the best well.

Rungs of successive halving (Jamieson & Talwalkar 2016): the first has one launch and quality on a part of the
test set; only what may still win gets all launches and the whole test set. Between them a model of effects
(`bench.search.prediction`) chooses what is worth a look, since most of a product need not be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bench.analysis.statistics import pareto_front
from bench.search.goals import Answer, Problem
from bench.search.prediction import Additive
from bench.search.space import Candidate, Space, keeps_shapes

Rung = Literal["first", "full"]

CHUNK = 8
"""Candidates that are measured together, so that a budget which ends has whole answers."""

PATIENCE = 2
"""Looks at promising candidates in a row that found nothing better, after which no more are taken."""

_PROMISING = 4
_FINALISTS = 3
_MOST_FINALISTS = 12


class Measure(Protocol):
    """What measures candidates. One that the budget keeps from an answer is left out of what it returns."""

    def __call__(self, candidates: Sequence[Candidate], rung: Rung) -> Mapping[Candidate, Answer]: ...

    def has_time(self, rung: Rung) -> bool:
        """Say whether there is time left for a rung."""
        ...


@dataclass
class Search:
    """A search and what it has found so far: answers of the first rung and of the full one."""

    space: Space
    problem: Problem
    measure: Measure
    say: Callable[[str], None] = lambda text: None
    first: dict[Candidate, Answer] = field(default_factory=dict)
    full: dict[Candidate, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._effects = Additive(self.problem.metrics)

    def run(self) -> None:
        """Search until nothing promises to be better, or the time is used up."""
        self._look([Candidate("", *place) for place in _plain_first(self.space.placements)])
        place = self._best_place()
        if place is not None:
            self._look([Candidate(steps, *place.placement) for steps in self.space.steps])
            self._look_at_repairs(place)
            self._look_at_promising()
        self._measure_finalists()

    @property
    def answers(self) -> dict[Candidate, Answer]:
        """The best known answer of each candidate that has one."""
        latest = self.first | self.full
        return {candidate: answer for candidate, answer in latest.items() if not answer.reason}

    def winner(self) -> tuple[Candidate, Answer] | None:
        """Return the best candidate that holds every goal; None of none.

        It is one of those that have had all launches, unless none of them holds the goals: of many candidates
        the best of single launches is mostly the luckiest.
        """
        known = self.answers
        full = {candidate: known[candidate] for candidate in self.full if candidate in known}
        for answers in (full, known):
            found = [entry for entry in answers.items() if self.problem.holds(entry[1])]
            if found:
                return min(found, key=lambda entry: (self._cost(entry[1]), entry[0]))
        return None

    def front(self, by: str) -> list[tuple[Candidate, Answer]]:
        """Return the candidates that none beats in both what is minimized and a metric `by`, cheapest first.

        Lower values of `by` are better.
        """
        known = [(candidate, answer) for candidate, answer in self.answers.items() if by in answer.values]
        costs = [self._cost(answer) for _, answer in known]
        flags = pareto_front(costs, [-answer.values[by] for _, answer in known])
        entries = [entry for entry, flag in zip(known, flags, strict=True) if flag]
        return sorted(entries, key=lambda entry: self._cost(entry[1]))

    def _cost(self, answer: Answer) -> float:
        return answer.values[self.problem.minimize]

    def _look(self, candidates: Sequence[Candidate], chunk: int = CHUNK) -> None:
        """Measure candidates once, some at a time, as long as there is time."""
        new = [c for c in candidates if c not in self.first and self.space.takes(c)]
        for start in range(0, len(new), chunk):
            if not self.measure.has_time("first"):
                return
            found = self.measure(new[start : start + chunk], "first")
            self.first |= found
            for candidate, answer in found.items():
                self._effects.learn(candidate, answer)
            self._say(found)

    def _best_place(self) -> Candidate | None:
        """Return the place for steps: the cheapest that may hold the goals, else the one that nearly does."""
        usable = {c: a for c, a in self.first.items() if not a.reason and not c.steps}
        return min(usable, key=lambda c: (self._missed(usable[c]), self._cost(usable[c])), default=None)

    def _missed(self, answer: Answer) -> float:
        return 0.0 if self.problem.may_hold(answer) else self.problem.excess(answer)

    def _look_at_repairs(self, best: Candidate) -> None:
        """Measure steps that keep every shape in the cheapest format that misses a goal and costs less.

        What they are worth shows there alone: rounding in training loses quality without a format, and wins
        some with one.
        """
        cheaper = [
            (self._cost(answer), candidate)
            for candidate, answer in self.first.items()
            if candidate.format and not candidate.steps and not answer.reason
            if not self.problem.may_hold(answer) and self._cost(answer) < self._cost(self.first[best])
        ]
        if cheaper:
            place = min(cheaper)[1].placement
            self._look([Candidate(steps, *place) for steps in self.space.steps if keeps_shapes(steps)])

    def _look_at_promising(self) -> None:
        """Measure what is predicted to beat the best so far, until that finds nothing better."""
        stale = 0
        while stale < PATIENCE and self.measure.has_time("first"):
            best = self._best_cost(self.first.values())
            promising = self._promising(best)[:_PROMISING]
            if not promising:
                return
            self._look(promising)
            if not any(candidate in self.first for candidate in promising):
                return
            stale = 0 if self._best_cost(self.first.values()) < best else stale + 1

    def _promising(self, best: float) -> list[Candidate]:
        predicted = []
        for candidate in self.space.candidates():
            answer = None if candidate in self.first else self._effects.predict(candidate)
            if answer is not None and self.problem.may_hold(answer) and self._cost(answer) < best:
                predicted.append((self._cost(answer), candidate))
        return [candidate for _, candidate in sorted(predicted)]

    def _best_cost(self, answers: Iterable[Answer]) -> float:
        usable = (a for a in answers if not a.reason and self.problem.may_hold(a))
        return min(map(self._cost, usable), default=float("inf"))

    def _measure_finalists(self) -> None:
        """Measure the best of the first rung with all launches, until none of the rest can be better."""
        while self.measure.has_time("full") and len(self.full) < _MOST_FINALISTS:
            chosen = self._finalists()
            if not chosen:
                return
            twins = [Candidate("", "", backend) for backend in dict.fromkeys(c.backend for c in chosen)]
            new = [c for c in dict.fromkeys([*chosen, *twins]) if c not in self.full]
            found = self.measure(new, "full")
            self.full |= found
            self._say(found)
            if len(found) < len(new):
                return  # the time was used up

    def _finalists(self) -> list[Candidate]:
        waiting = {
            candidate: answer
            for candidate, answer in self.first.items()
            if candidate not in self.full and not answer.reason and self.problem.may_hold(answer)
        }
        sure = (a for a in self.full.values() if not a.reason and self.problem.holds(a))
        limit = min(map(self._cost, sure), default=float("inf"))
        found = sorted((self._cost(answer), candidate) for candidate, answer in waiting.items())
        return [candidate for cost, candidate in found if cost < limit][:_FINALISTS]

    def _say(self, found: Mapping[Candidate, Answer]) -> None:
        failed = {candidate: answer.reason for candidate, answer in found.items() if answer.reason}
        for candidate, reason in failed.items():
            self.say(f"{candidate}: left out, {reason}")
        won = self.winner()
        best = f"; best so far {won[0]}" if won else "; no goal is met yet"
        self.say(f"measured {len(found) - len(failed)} more{best}")


def _plain_first(placements: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return placements with those of no format first: they say which backends are worth a look."""
    return sorted(placements, key=lambda place: bool(place[0]))
