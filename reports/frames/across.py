"""How a run's optimizers stand across workloads: profiles, AlgoPerf's score, speed-ups over a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.profiles import Standing, median_times, performance_profile, performance_ratios, standings
from bench.analysis.statistics import Interval
from bench.formatting import counted
from reports.frames.outcomes import Measure, WorkloadOutcomes, workload_outcomes
from reports.frames.view import RunView
from techniques.registry import first_few

_ACROSS = (
    *("measure", "optimizer", "workloads", "score", "score_low", "score_high", "baseline"),
    *("difference", "difference_low", "difference_high", "speedup", "speedup_low", "speedup_high"),
    *("lowest_without", "lowest_score", "highest_without", "highest_score"),
)
_PROFILE = ("measure", "optimizer", "tau", "share")


@dataclass(frozen=True)
class Across:
    """The table of optimizers, best score first, the corners of their profiles, and what was left out."""

    table: pd.DataFrame
    profile: pd.DataFrame
    notes: tuple[str, ...] = ()


_EMPTY = Across(pd.DataFrame(columns=list(_ACROSS)), pd.DataFrame(columns=list(_PROFILE)))


def across_run(view: RunView) -> Across | None:
    """Return how a run's optimizers stand, by seconds where all are known, else by steps.

    None of a single workload.
    """
    return view.once("across", lambda: _across_run(view))


def _across_run(view: RunView) -> Across | None:
    outcomes = workload_outcomes(view)
    if len(outcomes) < 2:
        return None
    measure: Measure = "time" if all(one.time for one in outcomes) else "steps"
    return across_workloads(outcomes, measure, next(iter(outcomes[0].trained)))


def across_workloads(outcomes: Sequence[WorkloadOutcomes], measure: Measure, baseline: str) -> Across:
    """Return how the optimizers that were trained on every workload stand; no rows below two of either."""
    if len(outcomes) < 2:
        return replace(_EMPTY, notes=("one workload: no profile and no score across workloads",))
    labels = list(dict.fromkeys(label for one in outcomes for label in one.trained))
    ranked = [name for name in labels if all(_is_measured(one, name, measure) for one in outcomes)]
    notes = tuple(_left_out(labels, ranked, baseline, counted(len(outcomes), "workload")))
    if len(ranked) < 2:
        return replace(_EMPTY, notes=(*notes, "no ranking across workloads: it takes two optimizers on all"))
    times, budgets = _arrays(outcomes, ranked, measure)
    base = ranked.index(baseline) if baseline in ranked else None
    standing = dict(zip(ranked, standings(times, budgets, base), strict=True))
    ordered = sorted(ranked, key=lambda name: -standing[name].score.value)
    workloads = [one.workload for one in outcomes]
    rows = [_row(measure, name, workloads, baseline, standing[name]) for name in ordered]
    return Across(
        pd.DataFrame(rows, columns=list(_ACROSS)),
        _profile(measure, ordered, dict(zip(ranked, times, strict=True))),
        (*notes, *_other_leaders(workloads, ordered, standing)),
    )


def _is_measured(one: WorkloadOutcomes, name: str, measure: Measure) -> bool:
    return name in one.trained and bool(one.measured(name, measure))


def _left_out(labels: Sequence[str], ranked: Sequence[str], baseline: str, workloads: str) -> Iterator[str]:
    lacking = [name for name in labels if name not in ranked]
    if lacking:
        yield f"not trained on all {workloads}, so not ranked across them: {first_few(lacking)}"
    if baseline in lacking and ranked:
        yield f"no comparison with {baseline} across workloads"


def _other_leaders(
    workloads: Sequence[str], ordered: Sequence[str], standing: Mapping[str, Standing]
) -> Iterator[str]:
    """Say without which single workload another optimizer would be first."""
    for position, workload in enumerate(workloads):
        best = max(ordered, key=lambda name: standing[name].without[position])
        if standing[best].without[position] > standing[ordered[0]].without[position]:
            yield f"without {workload}, {best} is first"


def _profile(measure: Measure, ordered: Sequence[str], times: Mapping[str, np.ndarray]) -> pd.DataFrame:
    medians = median_times(np.stack([times[name] for name in ordered]))
    rows = [
        (measure, name, tau, share)
        for name, ratios in zip(ordered, performance_ratios(medians), strict=True)
        for tau, share in zip(*performance_profile(ratios.tolist()), strict=True)
    ]
    return pd.DataFrame(rows, columns=list(_PROFILE))


def _arrays(
    outcomes: Sequence[WorkloadOutcomes], labels: Sequence[str], measure: Measure
) -> tuple[np.ndarray, np.ndarray]:
    """Return what was needed (optimizers, workloads, seeds), NaN where not trained, and budgets."""
    seeds = sorted({seed for one in outcomes for name in labels for seed in one.trained.get(name, ())})
    times = np.full((len(labels), len(outcomes), len(seeds)), np.nan)
    budgets = np.empty(times.shape[:2])
    for row, name in enumerate(labels):
        for column, one in enumerate(outcomes):
            measured = one.measured(name, measure)
            budgets[row, column] = min(outcome.budget for outcome in measured.values())
            for seed, outcome in measured.items():
                times[row, column, seeds.index(seed)] = outcome.needed
    return times, budgets


def _row(
    measure: Measure, name: str, workloads: Sequence[str], baseline: str, standing: Standing
) -> dict[str, Any]:
    without = dict(zip(workloads, standing.without, strict=True))
    lowest, highest = min(without, key=lambda w: without[w]), max(without, key=lambda w: without[w])
    return {
        "measure": measure,
        "optimizer": name,
        "workloads": len(workloads),
        **_bounds("score", standing.score),
        "baseline": baseline if standing.difference else None,
        **_bounds("difference", standing.difference),
        **_bounds("speedup", standing.speedup),
        "lowest_without": lowest,
        "lowest_score": without[lowest],
        "highest_without": highest,
        "highest_score": without[highest],
    }


def _bounds(name: str, interval: Interval | None) -> dict[str, float | None]:
    bounds = (None, None, None) if interval is None else (interval.value, interval.low, interval.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), bounds, strict=True))
