"""Optimizers ranked: what each needed, pairwise verdicts over seeds, and how they stand across workloads."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from bench.analysis.survival import Outcome, kaplan_meier_median, median_outcome
from bench.analysis.to_target import RESOLUTION
from bench.analysis.verdicts import (
    DIFFERENCE,
    Judged,
    PairedRatio,
    inverted,
    judge,
    paired_ratio,
    spread_between_seeds,
)
from bench.errors import BenchError
from bench.formatting import counted
from reports.frames.across import Across, across_workloads
from reports.frames.outcomes import NOT_MEASURED, Measure, WorkloadOutcomes, step_ratio, workload_outcomes
from reports.frames.swept import are_swept, family
from reports.frames.tuning import trial_keys, tuning_spent
from reports.frames.view import RunView
from techniques.optimizers import OPTIMIZERS
from techniques.optimizers.search import RATE
from techniques.registry import first_few, nearest

MEASURES: tuple[Measure, ...] = ("steps", "time", "loss")

_RANKING = (
    *("workload", "quality_metric", "target", "rank", "optimizer", "seeds", "reached", "states"),
    *("steps_to_target", "steps_to_target_on_grid", "steps_to_target_kaplan_meier", "budget_steps"),
    *("resolution", "at_first", "seed_spread", "time_to_target_s", "time_basis", "loss", "common_step"),
)
_PAIRS = (
    *("workload", "measure", "optimizer", "other", "seeds", "unreached", "at_first"),
    *("ratio", "ratio_low", "ratio_high", "resolution", "p", "p_holm", "verdict"),
    *("difference", "detectable", "more_seeds"),
)


_TUNING = (
    *("workload", "optimizer", "tuning", "seeds", "reached", "steps_to_target", "time_to_target_s"),
    *("budget_steps", "rank", "of", "tuning_steps", "tuning_s"),
)


@dataclass(frozen=True)
class Ranking:
    """A run's optimizers, ranked by `measure`.

    `ranking` has a row for each workload × optimizer, best first. `verdicts` are those of each workload and
    measure by the pair, the better ranked first; `pairs` is their table. `spreads` are standard deviations
    between seeds, of the logarithm of steps, by workload. `tuning` has a row for each workload × optimizer ×
    tuning, with its rank among those tuned alike, where a workload has several kinds of tuning.
    """

    measure: Measure
    baseline: str
    ranking: pd.DataFrame
    verdicts: Mapping[tuple[str, Measure], Mapping[tuple[str, str], Judged]]
    across: Across
    spreads: Mapping[str, float | None]
    notes: tuple[str, ...]
    tuning: pd.DataFrame

    @property
    def pairs(self) -> pd.DataFrame:
        """One row for each workload × measure × pair of optimizers."""
        rows = [
            {"workload": workload, "measure": measure, "optimizer": first, "other": second, **_flat(judged)}
            for (workload, measure), found in self.verdicts.items()
            for (first, second), judged in found.items()
        ]
        return pd.DataFrame(rows, columns=list(_PAIRS))

    def verdict(self, workload: str, measure: Measure, first: str, second: str) -> Judged | None:
        """Return the verdict on the first of two optimizers; None where they cannot be compared."""
        found = self.verdicts[workload, measure]
        if (first, second) in found:
            return found[first, second]
        return inverted(found[second, first]) if (second, first) in found else None


def rank(
    view: RunView,
    baseline: str | None = None,
    *,
    by_steps: bool = False,
    difference: float = DIFFERENCE,
    every_rate: bool = False,
) -> Ranking:
    """Rank the optimizers of a run; by time, or `by_steps`, also where the time of some training is unknown.

    `baseline` is an optimizer of the run, its first by default. Power statements are about a relative
    `difference`. Rates that were tried beside an optimizer's own are left out, unless `every_rate`. Raises
    BenchError for a smoke run, one without a training to a target, or another baseline.
    """
    if view.smoke:
        raise BenchError(f"run {view.run['id']} is a smoke run: its numbers mean nothing; rank a whole run")
    outcomes = workload_outcomes(view, every_rate=every_rate)
    if not outcomes:
        raise BenchError(f"run {view.run['id']} has no training to a target that has ended; nothing to rank")
    labels = list(dict.fromkeys(label for one in outcomes for label in one.trained))
    if baseline is not None and baseline not in labels:
        raise BenchError(f"--baseline: the run has no optimizer {baseline!r}{nearest(baseline, labels)}")
    baseline = baseline or labels[0]
    untimed = [one.workload for one in outcomes if not one.time]
    measure: Measure = "steps" if by_steps or untimed else "time"
    ordered = {one.workload: _order(one, measure) for one in outcomes}
    across = across_workloads(outcomes, measure, baseline)
    tuning = [row for one in outcomes for row in _by_tuning(view, one, measure)]
    rows = [row for one in outcomes for row in _rows(one, ordered[one.workload])]
    return Ranking(
        measure,
        baseline,
        pd.DataFrame(rows, columns=list(_RANKING)),
        {
            (one.workload, what): _verdicts(view, one, ordered[one.workload], what, difference)
            for one in outcomes
            for what in MEASURES
        },
        across,
        {one.workload: _spread(one) for one in outcomes},
        (
            *_notes_of_time(untimed, by_steps),
            *(() if every_rate else _notes_of_swept(view)),
            *_notes(view, outcomes),
            *across.notes,
        ),
        pd.DataFrame(tuning, columns=list(_TUNING)),
    )


def _order(one: WorkloadOutcomes, measure: Measure) -> list[str]:
    """Return a workload's optimizers, the best by the median of what its seeds needed first."""

    def place(name: str) -> tuple[float, float, float]:
        outcomes = list(one.measured(name, measure).values())
        reached = sum(outcome.reached for outcome in outcomes) / max(1, len(outcomes))
        losses = [outcome.needed for outcome in one.measured(name, "loss").values()]
        middle = statistics.median(losses) if losses else math.inf
        return median_outcome(outcomes) if outcomes else math.inf, -reached, middle

    return sorted(one.trained, key=place)


def _rows(one: WorkloadOutcomes, ordered: Sequence[str]) -> Iterator[dict[str, Any]]:
    for position, name in enumerate(ordered):
        trained = list(one.trained[name].values())
        steps = [seed.steps for seed in trained]
        time, loss = (list(one.measured(name, measure).values()) for measure in ("time", "loss"))
        grid = statistics.median(seed.grid for seed in trained)
        states = [seed.state for seed in trained if seed.state != "ok"]
        states += ["censored" for seed in trained if seed.steps.censored]
        yield {
            "workload": one.workload,
            "quality_metric": one.quality_metric,
            "target": one.target,
            "rank": position + 1,
            "optimizer": name,
            "seeds": len(trained),
            "reached": sum(outcome.reached for outcome in steps),
            "states": ", ".join(dict.fromkeys(states)),
            "steps_to_target": _finite(median_outcome(steps)),
            "steps_to_target_on_grid": _finite(grid),
            "steps_to_target_kaplan_meier": _finite(kaplan_meier_median(steps)),
            "budget_steps": min(outcome.budget for outcome in steps),
            "resolution": _resolution(steps),
            "at_first": sum(outcome.at_most for outcome in steps),
            "seed_spread": spread_between_seeds([steps]),
            "time_to_target_s": _finite(median_outcome(time)) if time else None,
            "time_basis": one.time,
            "loss": _finite(median_outcome(loss)) if loss else None,
            "common_step": one.common_step,
        }


def _by_tuning(view: RunView, one: WorkloadOutcomes, measure: Measure) -> Iterator[dict[str, Any]]:
    """Yield a row for each optimizer × tuning of a workload, if it has several of the latter."""
    first = {name: next(iter(seeds.values())) for name, seeds in one.trained.items()}
    tunings = dict.fromkeys(trained.tuning for trained in first.values())
    for tuning in tunings if len(tunings) > 1 else ():
        alike = [name for name in _order(one, measure) if first[name].tuning == tuning]
        for position, name in enumerate(alike):
            steps, time = (list(one.measured(name, what).values()) for what in ("steps", "time"))
            yield {
                "workload": one.workload,
                "optimizer": first[name].untuned,
                "tuning": tuning,
                "seeds": len(steps),
                "reached": sum(outcome.reached for outcome in steps),
                "steps_to_target": _finite(median_outcome(steps)),
                "time_to_target_s": _finite(median_outcome(time)) if time else None,
                "budget_steps": min(outcome.budget for outcome in steps),
                "rank": position + 1,
                "of": len(alike),
                **tuning_spent(view, first[name].key),
            }


def _spread(one: WorkloadOutcomes) -> float | None:
    return spread_between_seeds(one.measured(name, "steps").values() for name in one.trained)


def _verdicts(
    view: RunView, one: WorkloadOutcomes, ordered: Sequence[str], measure: Measure, difference: float
) -> dict[tuple[str, str], Judged]:
    ratios = {pair: _ratio(view, one, *pair, measure) for pair in combinations(ordered, 2)}
    known = {pair: ratio for pair, ratio in ratios.items() if ratio is not None}
    return dict(zip(known, judge(known.values(), difference), strict=True))


def _ratio(
    view: RunView, one: WorkloadOutcomes, first: str, second: str, measure: Measure
) -> PairedRatio | None:
    if measure != "time" or not one.time.startswith("steps"):
        return paired_ratio(one.measured(first, measure), one.measured(second, measure))
    # The time of a step has an error of its own, which is the same in all seeds.
    trained = (next(iter(one.trained[name].values())) for name in (first, second))
    common = step_ratio(view, *trained)
    return paired_ratio(one.measured(first, "steps"), one.measured(second, "steps"), common=common)


def told_apart(view: RunView, workload: str, best: str, others: Sequence[str]) -> set[str]:
    """Return the optimizers that a workload's seeds tell apart from the best one: by time, else by steps."""
    outcomes: list[WorkloadOutcomes] = view.once("outcomes", lambda: workload_outcomes(view))
    one = next((found for found in outcomes if found.workload == workload), None)
    if one is None or best not in one.trained:
        return set()
    measure: Measure = "time" if one.time else "steps"
    ratios = {other: _ratio(view, one, best, other, measure) for other in others if other in one.trained}
    known = {other: ratio for other, ratio in ratios.items() if ratio is not None}
    judged = zip(known, judge(known.values()), strict=True)
    return {other for other, found in judged if found.verdict != "can't tell"}


def _flat(judged: Judged) -> dict[str, Any]:
    ratio = judged.ratio
    return {
        "seeds": ratio.seeds,
        "unreached": ratio.unreached,
        "at_first": ratio.at_first,
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "resolution": ratio.resolution,
        "p": ratio.p,
        "p_holm": judged.adjusted,
        "verdict": judged.verdict,
        "difference": judged.difference,
        "detectable": judged.detectable,
        "more_seeds": judged.more_seeds,
    }


def _notes(view: RunView, outcomes: Sequence[WorkloadOutcomes]) -> Iterator[str]:
    yield from _notes_of_evaluations(outcomes)
    yield from _notes_of_rates(view, outcomes)
    yield from _notes_of_run(view)


def _notes_of_time(untimed: Sequence[str], by_steps: bool) -> Iterator[str]:
    if untimed and not by_steps:
        yield f"ranked by steps: the time of some trainings of {first_few(untimed)} is unknown"


def _resolution(steps: Sequence[Outcome]) -> float | None:
    """Return by which share the steps of most seeds may be off; None where none is known."""
    known = [outcome.resolution for outcome in steps if outcome.reached and outcome.resolution]
    return statistics.median(known) if known else None


def _notes_of_evaluations(outcomes: Sequence[WorkloadOutcomes]) -> Iterator[str]:
    """Say whose target held before anybody could see when, and whose steps are not known to 1 %."""
    for one in outcomes:
        steps = {name: list(one.measured(name, "steps").values()) for name in one.trained}
        early = [name for name, found in steps.items() if any(outcome.at_most for outcome in found)]
        if early:
            yield (
                f"{one.workload}: the target held at the first evaluation of {first_few(early)}; their steps "
                "are upper bounds, so evaluate more often"
            )
        known = {name: _resolution(found) for name, found in steps.items() if name not in early}
        coarse = {name: share for name, share in known.items() if share is not None and share > RESOLUTION}
        if coarse:
            yield (
                f"{one.workload}: steps of {first_few(list(coarse))} are known to "
                f"{100 * max(coarse.values()):.2g} % at worst, for few evaluations came before the target; "
                "verdicts take it into account"
            )


def _notes_of_swept(view: RunView) -> Iterator[str]:
    """Say how many rates are left out, of how many optimizers."""
    axes = [training.axes for training in view.trainings()]
    texts = {str(row["optimizer"]) for row, out in zip(axes, are_swept(axes), strict=True) if out}
    if texts:
        of = counted(len({family(text) for text in texts}), "optimizer")
        yield (
            f"{counted(len(texts), 'rate')} of {of}, tried beside their own, are left out: the best of "
            "several would win by its tries; the sensitivity has them, and --every-rate ranks them too"
        )


def _notes_of_rates(view: RunView, outcomes: Sequence[WorkloadOutcomes]) -> Iterator[str]:
    """Name optimizers at a default rate that was chosen on a workload which they are ranked on."""
    rows, ranked = OPTIMIZERS.rows(), {one.workload for one in outcomes}
    chosen: dict[str, dict[str, None]] = {}
    for training in view.trainings():
        row = rows.get(str(training.axes["optimizer"]).partition(":")[0])
        if row is None or row.tried_on not in ranked or trial_keys(view, training.key):
            continue
        if training.optimizer_settings.get(RATE) == row.defaults[RATE]:
            chosen.setdefault(row.tried_on, {})[row.name] = None
    for workload, names in chosen.items():
        yield (
            f"{workload}: the default {'rate' if len(names) == 1 else 'rates'} of {', '.join(names)} "
            f"{'was' if len(names) == 1 else 'were'} chosen on it, by its test data, where others have their "
            "paper's; to compare fairly, tune all by trials"
        )


def _notes_of_run(view: RunView) -> Iterator[str]:
    states = [view.status(training.key).state for training in view.trainings()]
    for state in NOT_MEASURED:
        if state in states:
            yield f"left out: {counted(states.count(state), 'training')} {state}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
