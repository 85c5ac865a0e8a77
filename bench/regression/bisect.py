"""Finds the commit that made something slower, by comparisons of GOOD with the commits after it.

As `git bisect run` it halves what is left, and skips what cannot be judged. The question is not whether a
commit is as fast as GOOD, but whether it is nearer to GOOD or to BAD: the border lies half way between the
two, in logarithms, as the first comparison measured them. A commit whose interval holds the border is
measured once more, for longer, and is skipped if that does not settle it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bench.analysis.statistics import Interval
from bench.errors import BenchError
from bench.formatting import counted, three_digits
from bench.regression.revisions import Commit, Repository

MORE_BUDGET = 3
"""How many times as long a commit is measured that could not be judged at first."""

Judgement = Literal["good", "bad", "skipped"]


@dataclass(frozen=True)
class Effect:
    """What a comparison of two revisions came to: after over before, or why there is no ratio."""

    ratio: Interval | None
    reason: str = ""

    def __str__(self) -> str:
        return ratio_text(self.ratio) if self.ratio else self.reason


class Compare(Protocol):
    """Measures two revisions, by `bench ab` or otherwise, within a budget of seconds.

    `border` is the ratio that matters: measuring may end once it is clear on which side of it the ratio lies.
    A revision that cannot be built or run is an effect without a ratio, not an error.
    """

    def __call__(self, before: str, after: str, budget_s: float, border: float = 1.0, /) -> Effect: ...


@dataclass(frozen=True)
class Judged:
    """One judged commit, and how many suspects were left when it was chosen."""

    commit: Commit
    judgement: Judgement
    effect: Effect
    suspects: int


@dataclass
class Bisection:
    """What bisecting found: one culprit, or the few commits that could not be told apart.

    `whole` is BAD over GOOD, `own` the one culprit over its parent. `culprits` are the newest first.
    """

    good: Commit
    bad: Commit
    whole: Interval
    judged: list[Judged] = field(default_factory=list)
    culprits: Sequence[Commit] = ()
    own: Effect | None = None


@dataclass(frozen=True)
class Search:
    """How to bisect: the comparison, its budget in seconds, and which commits to leave out."""

    compare: Compare
    budget_s: float
    first_parent: bool = False
    skip: frozenset[str] = frozenset()
    tell: Callable[[str], None] = lambda _: None


def bisect(repository: Repository, good: str, bad: str, search: Search) -> Bisection:
    """Find the commit between two that moved a measured value from one's to the other's.

    Raises BenchError where `good` is no ancestor of `bad`, or the two do not differ beyond noise.
    """
    found = _start(repository, good, bad, search)
    border = math.sqrt(found.whole.value)
    passed, failed, skipped = {found.good.revision}, found.bad.revision, set(search.skip)
    while True:
        suspects = repository.suspects(failed, passed, first_parent=search.first_parent)
        open_ = [revision for revision in suspects if revision != failed and revision not in skipped]
        if not open_:
            break
        judged = _judge(repository.commit(open_[0]), found, border, len(suspects), search)
        found.judged.append(judged)
        search.tell(_judged_text(judged))
        if judged.judgement == "good":
            passed.add(judged.commit.revision)
        elif judged.judgement == "bad":
            failed = judged.commit.revision
        else:
            skipped.add(judged.commit.revision)
    found.culprits = [repository.commit(each) for each in (failed, *(s for s in suspects if s != failed))]
    if len(found.culprits) == 1:
        found.own = _own_effect(repository, found, search)
    return found


def _start(repository: Repository, good: str, bad: str, search: Search) -> Bisection:
    """Measure both ends; raises BenchError where there is nothing to bisect."""
    first, last = repository.commit(good), repository.commit(bad)
    if first.revision == last.revision:
        raise BenchError(f"GOOD and BAD are the same commit, {first}")
    if not repository.is_ancestor(first.revision, last.revision, first_parent=search.first_parent):
        line = " on its line of first parents" if search.first_parent else ""
        raise BenchError(f"GOOD ({first}) must be an ancestor of BAD ({last}){line}")
    effect = search.compare(first.revision, last.revision, search.budget_s)
    if effect.ratio is None:
        raise BenchError(f"{first} and {last} cannot be compared: {effect.reason}")
    if _side(effect.ratio, 1.0) is None:
        raise BenchError(
            f"GOOD and BAD do not differ beyond noise: {effect}; choose others, or raise --budget"
        )
    border = three_digits(math.sqrt(effect.ratio.value))
    search.tell(f"BAD against GOOD: {effect}; each commit is judged by the side of {border}x that it lies on")
    return Bisection(first, last, effect.ratio)


def _judge(commit: Commit, found: Bisection, border: float, suspects: int, search: Search) -> Judged:
    """Measure a commit against GOOD, for longer where the first time cannot tell."""
    effect = Effect(None)
    for budget_s in (search.budget_s, MORE_BUDGET * search.budget_s):
        effect = search.compare(found.good.revision, commit.revision, budget_s, border)
        if effect.ratio is None:
            return Judged(commit, "skipped", effect, suspects)
        side = _side(effect.ratio, border)
        if side is not None:
            is_bad = (side > 0) == (found.whole.value > 1)
            return Judged(commit, "bad" if is_bad else "good", effect, suspects)
    return Judged(commit, "skipped", effect, suspects)


def _side(ratio: Interval, border: float) -> int | None:
    """Return 1 where all of an interval is above a border, -1 where below, None where it holds it."""
    if ratio.low is None or ratio.high is None:
        return None
    return 1 if ratio.low > border else -1 if ratio.high < border else None


def _own_effect(repository: Repository, found: Bisection, search: Search) -> Effect:
    """Measure the culprit against its parent, unless the two were: BAD right after GOOD."""
    culprit = found.culprits[0].revision
    parent = repository.parent(culprit)
    if (parent, culprit) == (found.good.revision, found.bad.revision):
        return Effect(found.whole)
    search.tell("the culprit against its parent")
    return search.compare(parent, culprit, search.budget_s)


def _judged_text(judged: Judged) -> str:
    left = counted(judged.suspects, "suspect")
    more = math.ceil(math.log2(judged.suspects))
    verdict = f"{judged.commit}: {judged.effect}, {judged.judgement}"
    return f"{left}, about {more} to measure: {verdict}"


def ratio_text(ratio: Interval) -> str:
    """Write a ratio for people: `1.52x (1.48 to 1.56)`."""
    text = f"{three_digits(ratio.value)}x"
    if ratio.low is None or ratio.high is None:
        return text
    return f"{text} ({three_digits(ratio.low)} to {three_digits(ratio.high)})"


def bisection_lines(found: Bisection) -> list[str]:
    """Say what bisecting found: the culprit or the suspects, with intervals, and what to do next."""
    if len(found.culprits) > 1:
        why = {
            each.commit.revision: f": skipped, {each.effect}"
            for each in found.judged
            if each.judgement == "skipped"
        }
        commits = [f"  {commit}{why.get(commit.revision, '')}" for commit in found.culprits]
        return [f"one of {counted(len(commits), 'commit')} made it {ratio_text(found.whole)}:", *commits]
    culprit = found.culprits[0]
    own = found.own or Effect(None, "not measured")
    lines = [
        f"first bad commit: {culprit.revision}",
        f"  {culprit.subject}",
        f"  {culprit.author}, {culprit.day}",
        f"  against its parent: {own}",
        f"  BAD against GOOD: {ratio_text(found.whole)}",
    ]
    if own.ratio and _explains_less(own.ratio, found.whole):
        lines.append("  it explains only part of the difference; bisect before and after it for the rest")
    return [*lines, f"look at it: git show {culprit.revision[:10]}"]


def _explains_less(own: Interval, whole: Interval) -> bool:
    """Say whether a culprit's effect is smaller than the whole's, beyond both intervals."""
    if own.low is None or own.high is None or whole.low is None or whole.high is None:
        return False
    return own.high < whole.low if whole.value > 1 else own.low > whole.high
