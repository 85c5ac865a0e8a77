"""The verdict of a run, in a few sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.analysis.power import MIN_SEEDS
from bench.formatting import counted, format_points, format_value, three_digits
from reports.frames.choices import (
    LATENCY,
    QUALITY_POINTS,
    SIZE,
    Choices,
    ServingChoice,
    TrainingChoice,
    choice_name,
    choices_of,
    names_of,
)
from reports.frames.scores import Score
from reports.frames.view import RunView, records
from reports.grids.cell import shortened

_MAX_REASONS = 200

_TITLES = {LATENCY: "lowest latency", SIZE: "smallest download"}

SMOKE = "Smoke run (two steps, one launch per stage): it checks that stages run; its numbers mean nothing."


def verdict(
    view: RunView, frames: Mapping[str, pd.DataFrame], choices: Sequence[Choices] | None = None
) -> list[str]:
    """Return the sentences at the top of a report, from the frames `training` and `inference` of the run.

    `choices` are those of these frames, if they are known already.
    """
    training, inference = frames["training"], frames["inference"]
    if inference.empty:
        return ["This run has no cells."]
    sentences = [count_cells(inference)]
    if view.smoke:
        return [SMOKE, *sentences]
    for chosen in choices_of(view, frames) if choices is None else choices:
        sentences += _training_sentences(chosen.workload, chosen.training)
        for serving in chosen.serving:
            sentences += _serving_sentences(chosen.workload, serving)
    return [*sentences, *_incomplete_counts(training, inference)]


def _incomplete_counts(training: pd.DataFrame, inference: pd.DataFrame) -> Iterator[str]:
    """Say for each workload what its FLOP counts lack."""
    names = ["workload", "flops_incomplete"]
    found = (records(frame[names].drop_duplicates()) for frame in (training, inference))
    rows = [(row["workload"], row["flops_incomplete"]) for some in found for row in some]
    for workload in dict.fromkeys(workload for workload, lacking in rows if lacking):
        reasons = dict.fromkeys(lacking for name, lacking in rows if name == workload and lacking)
        why = shortened("; ".join(reasons), _MAX_REASONS)
        yield (
            f"{workload}: FLOP counts are incomplete ({why}). FLOPs, FLOP/s, % of peak, operations per byte "
            "and FLOPs to target are lower bounds, marked ≥; no ranking uses them."
        )


def count_cells(inference: pd.DataFrame) -> str:
    """Say how many cells are in each state."""
    states = Counter(str(state) for state in inference["state"])
    order = ("ok", "INVALID", "skipped", "pending")
    failed = {state: count for state, count in states.items() if state not in order}
    parts = [f"{states[state]:,} {state}" for state in order if states[state] or state == "ok"]
    if failed:
        kinds = ", ".join(f"{count:,} {state}" for state, count in sorted(failed.items()))
        detail = f" ({kinds})" if set(failed) != {"failed"} else ""
        parts.append(f"{sum(failed.values()):,} failed{detail}")
    return f"{counted(len(inference), 'cell')}: {', '.join(parts)}."


def _training_sentences(workload: str, training: TrainingChoice) -> Iterator[str]:
    scores, winners = training.scores, training.winners
    if not scores:
        return
    target = next((r["target"] for score in scores for r in score.rows if r["target"] is not None), None)
    metric = scores[0].rows[0]["quality_metric"].replace("_", " ")
    aim = f"{100 * target:g} % {metric}" if target is not None else "the target"
    if winners:
        least_steps, least_time = winners[0], training.best or winners[0]
        steps = format_value("steps_to_target", least_steps.steps)
        seeds = f", median of {least_steps.seeds} seeds" if least_steps.seeds > 1 else ""
        first = f"{workload}: {least_steps.label} reached {aim} in the fewest steps ({steps}{seeds})"
        if least_time.time_s is not None:
            time = format_value("time_to_target_s", least_time.time_s)
            who = " and" if least_time is least_steps else f"; {least_time.label}"
            first += f"{who} in the least time ({time})"
        yield first + closeness(training.ties, least_time.seeds) + "."
        if least_time.seeds < MIN_SEEDS and len(winners) > 1:
            few = counted(least_time.seeds, "seed")
            yield f"{workload}: {few}, so no verdict on optimizers, which takes {MIN_SEEDS}."
    missed = [_missed(score) for score in scores if score.reached < score.seeds]
    if missed:
        yield f"{workload}: {aim} was not reached by {'; '.join(missed)}."


def closeness(ties: Sequence[Score], seeds: int) -> str:
    """Name the optimizers that are not told apart from the best one, which has so many seeds, and by what."""
    close = ", ".join(score.label for score in ties)
    how = "step-time intervals overlap" if seeds < MIN_SEEDS else "by their seeds"
    return f", statistically tied with {close} ({how})" if close else ""


def _missed(score: Score) -> str:
    states = Counter(str(row["state"]) for row in score.rows if row["state"] != "ok")
    why = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    count = f" in {score.seeds - score.reached} of {score.seeds} seeds" if score.seeds > 1 else ""
    return f"{score.label}{count}" + (f" ({why})" if why else "")


def _serving_sentences(workload: str, serving: ServingChoice) -> Iterator[str]:
    where = f"{workload}, batch {serving.batch_size}"
    picks = {cost: serving.picks[cost] for cost in _TITLES}
    if not any(picks.values()) and serving.points[LATENCY]:
        yield f"{where}: no choice stays within {QUALITY_POINTS:g} point of the uncompressed quality."
    for cost, point in picks.items():
        if point:
            others = _others(serving) if cost == LATENCY else ""
            yield f"{where}: {_describe(point, cost)}{others}."


def _describe(point: Mapping[str, Any], cost: str) -> str:
    value = format_value(cost, point[cost])
    mark = "†" if cost == "latency_s" and point["preliminary"] else ""
    speedup = point["speedup"]
    faster = (
        f", {three_digits(speedup)}× the speed of uncompressed cpu-eager"
        if cost == "latency_s" and speedup
        else ""
    )
    quality = format_value("quality", point["quality"])
    loss = point["quality_loss_points"]
    points = format_points(abs(loss)).lstrip("+")
    change = f"{points} points {'below' if loss > 0 else 'above'}" if float(points) else "same as"
    return (
        f"{_TITLES[cost]} within {QUALITY_POINTS:g} point of the uncompressed model's quality is "
        f"{choice_name(point)}: {value}{mark}{faster}, "
        f"quality {quality} ({change} uncompressed), trained with {point['optimizer']}"
    )


def _others(serving: ServingChoice) -> str:
    """Name other choices that keep their quality: those that share the best one's timing, and those tied."""
    parts = [
        f"; {verb} {', '.join(names_of(choices))}"
        for verb, choices in (
            ("shares its timing with", serving.same),
            ("statistically tied with", serving.ties),
        )
        if choices
    ]
    return "".join(parts)
