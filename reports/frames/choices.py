"""The choices that a run comes to for each workload: how to train it, and how to serve it.

The terminal's summary, the verdict and the page show these; `bench advise` names candidates alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis.power import MIN_SEEDS
from bench.analysis.statistics import Interval
from bench.formatting import visible
from reports.frames.controls import NONE
from reports.frames.inference import REFERENCE_BACKEND
from reports.frames.pareto import points_by_cost
from reports.frames.ranking import told_apart
from reports.frames.scores import Score, best_quality, fastest, optimizer_scores, well_trained
from reports.frames.tradeoff import over_seeds
from reports.frames.training import training_labels
from reports.frames.view import RunView, records

QUALITY_POINTS = 1.0
"""A compression is recommended only if it costs at most this many points of quality."""

LATENCY, SIZE, MONEY = "latency_s", "artifact_compressed_bytes", "money_per_million"
COSTS = (LATENCY, SIZE, MONEY)
"""Columns by which a way to serve is chosen."""

Point = dict[str, Any]


@dataclass(frozen=True)
class TrainingChoice:
    """How to train: `best` reached the target in the least time, None where nothing did.

    `scores` are all optimizers, `winners` those of which more than half of the seeds reached the target.
    `ties` are winners that are not told apart from the best one: by their seeds, or of fewer than three by
    intervals of the step time that overlap. `default` is the run's first optimizer, as in `bench rank`.
    """

    scores: Sequence[Score]
    winners: Sequence[Score]
    best: Score | None
    ties: Sequence[Score]
    default: Score | None

    @property
    def closest(self) -> Score | None:
        """The best final quality."""
        return best_quality(self.scores)


@dataclass(frozen=True)
class ServingChoice:
    """How to serve in batches of one size, from ranked cells averaged over seeds.

    `points` has all by each of `COSTS`, `picks` the cheapest of those that keep their quality within
    `QUALITY_POINTS`. `same` share the timing of the fastest, `ties` may be as fast; both keep their quality.
    `default` is the uncompressed model on eager PyTorch, after the same training as the fastest.
    """

    batch_size: int
    points: Mapping[str, Sequence[Point]]
    picks: Mapping[str, Point | None]
    same: Sequence[Point]
    ties: Sequence[Point]
    default: Point | None

    @property
    def fastest(self) -> Point | None:
        return self.picks[LATENCY]

    @property
    def smallest(self) -> Point | None:
        return self.picks[SIZE]

    @property
    def cheapest(self) -> Point | None:
        return self.picks[MONEY]


@dataclass(frozen=True)
class Choices:
    """The choices for one workload."""

    workload: str
    training: TrainingChoice
    serving: tuple[ServingChoice, ...]


def choices_of(view: RunView, frames: Mapping[str, pd.DataFrame]) -> list[Choices]:
    """Return the choices for each workload, from the frames `training` and `inference` of the run."""
    training, inference = frames["training"], frames["inference"]
    sizes: dict[str, dict[int, dict[str, list[Point]]]] = {
        str(workload): {} for workload in dict.fromkeys([*training["workload"], *inference["workload"]])
    }
    batches = inference[["workload", "batch_size"]].drop_duplicates()
    for workload, size in zip(batches["workload"].tolist(), batches["batch_size"].tolist(), strict=True):
        sizes[str(workload)][int(size)] = {cost: [] for cost in COSTS}
    for cost, points in points_by_cost(inference, COSTS).items():
        for point in points:
            sizes[str(point["workload"])][int(point["batch_size"])][cost].append(point)
    return [_choices(view, workload, training, own) for workload, own in sizes.items()]


def _choices(
    view: RunView, workload: str, training: pd.DataFrame, sizes: Mapping[int, Mapping[str, list[Point]]]
) -> Choices:
    scores = optimizer_scores(training, workload)
    rivals = [score for score in scores if not score.swept]
    chosen = _training(view, rivals, next(iter(training[training["workload"] == workload]["optimizer"]), ""))
    trained = {score.label for score in well_trained(scores)}
    return Choices(
        workload,
        chosen,
        tuple(_serving(view, size, points, trained) for size, points in sizes.items()),
    )


def _training(view: RunView, scores: Sequence[Score], first: str) -> TrainingChoice:
    winners = [score for score in scores if score.steps is not None]
    best = fastest(winners)
    ties = [] if best is None else _ties(view, best, [score for score in winners if score is not best])
    default = next((score for score in scores if score.rows[0]["optimizer"] == first), None)
    return TrainingChoice(scores, winners, best, ties, default)


def _ties(view: RunView, best: Score, others: Sequence[Score]) -> list[Score]:
    seeded = {
        visible(score.label)
        for score in others
        if min(score.seeds, best.seeds) >= MIN_SEEDS and not view.smoke
    }
    workload = visible(str(best.rows[0]["workload"]))
    apart = told_apart(view, workload, visible(best.label), sorted(seeded)) if seeded else set()
    return [
        score
        for score in others
        if (visible(score.label) not in apart if visible(score.label) in seeded else _overlap(best, score))
    ]


def _overlap(best: Score, other: Score) -> bool:
    """Say whether another's interval of time to target, by step times alone, begins within the best one's."""
    if best.time_high_s is None or other.time_low_s is None:
        return False
    return other.time_low_s <= best.time_high_s


def _serving(view: RunView, size: int, points: Mapping[str, list[Point]], trained: set[str]) -> ServingChoice:
    picks = {cost: pick(found, cost, trained) for cost, found in points.items()}
    best = picks[LATENCY]
    if best is None:
        return ServingChoice(size, points, picks, (), (), None)
    others = [
        point for point in points[LATENCY] if keeps_quality(point) and choice_name(point) != choice_name(best)
    ]
    same: list[Point] = []
    timed: list[Point] = []
    for point in others:
        (same if point["infer_keys"] == best["infer_keys"] else timed).append(point)
    ties = [point for point in timed if may_be_as_fast(view, point, best)]
    return ServingChoice(size, points, picks, same, ties, _default(best, points[LATENCY]))


def _default(best: Point, points: Sequence[Point]) -> Point | None:
    """Return the uncompressed model on eager PyTorch, of the same training and precision if it is there."""
    plain = [
        point for point in points if point["compression"] == NONE and point["backend"] == REFERENCE_BACKEND
    ]
    return min(
        plain,
        key=lambda point: (point["optimizer"] != best["optimizer"], point["precision"] != best["precision"]),
        default=None,
    )


def pick(points: Sequence[Point], cost: str, trained: set[str]) -> Point | None:
    """Return the cheapest point that keeps its quality, of these trainings if any of them does.

    They are those that reached the target, or where none did, the one that came closest: a model that learned
    nothing keeps its quality too.
    """
    keeping = [point for point in points if keeps_quality(point)]
    labels = training_labels(keeping, points)
    preferred = [point for point, label in zip(keeping, labels, strict=True) if label in trained] or keeping
    return min(
        preferred,
        key=lambda p: preference(p[cost], p["compression"] == NONE, p[LATENCY], p["quality"]),
        default=None,
    )


def preference(
    cost: float | None, uncompressed: bool, latency_s: float | None, quality: float | None
) -> tuple[float, bool, float, float]:
    """Order ways to serve by cost; of equals first what takes no extra work, then the faster, the better."""
    return (
        math.inf if cost is None else cost,
        not uncompressed,
        math.inf if latency_s is None else latency_s,
        -(quality or 0.0),
    )


def loss_over_seeds(inference: pd.DataFrame, point: Mapping[str, Any]) -> Interval | None:
    """Return a choice's mean loss of quality in points, its interval over seeds where it has several."""
    own = inference[inference["cell"].isin(point["cells"])]
    rows = records(own, ("seed", "quality_loss_points"))
    return over_seeds(
        (row["seed"], row["quality_loss_points"]) for row in rows if row["quality_loss_points"] is not None
    )


def choice_name(point: Mapping[str, Any]) -> str:
    return f"{point['compression']} on {point['backend']} ({point['precision']})"


def names_of(points: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of choices, each once."""
    return list(dict.fromkeys(map(choice_name, points)))


def may_be_as_fast(view: RunView, point: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    ratio = view.latency_ratio(point["infer_key"], best["infer_key"])
    return ratio is not None and ratio.low is not None and ratio.low <= 1


def keeps_quality(point: Mapping[str, Any]) -> bool:
    loss = point["quality_loss_points"]
    return loss is not None and loss <= QUALITY_POINTS
