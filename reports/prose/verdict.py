"""The verdict of a run, in a few sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from bench.formatting import counted, format_points, format_value, three_digits
from reports.frames.pareto import ranked_points
from reports.frames.scores import Score, fastest, optimizer_scores
from reports.frames.tradeoff import NONE
from reports.frames.training import training_labels
from reports.frames.view import RunView, records
from reports.grids.cell import shortened

QUALITY_POINTS = 1.0
"""A compression is recommended only if it costs at most this many points of quality."""

_MAX_REASONS = 200

_TITLES = {"latency_s": "lowest latency", "artifact_compressed_bytes": "smallest download"}


SMOKE = "Smoke run (two steps, one launch per stage): it checks that stages run; its numbers mean nothing."


def verdict(view: RunView, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the sentences at the top of a report, from the frames `training` and `inference` of the run."""
    training, inference = frames["training"], frames["inference"]
    if inference.empty:
        return ["This run has no cells."]
    sentences = [count_cells(inference)]
    if view.smoke:
        return [SMOKE, *sentences]
    for workload in dict.fromkeys([*training["workload"], *inference["workload"]]):
        scores = optimizer_scores(training, workload)
        sentences += _training_sentences(str(workload), scores)
        sentences += _inference_sentences(view, inference, str(workload), scores)
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
    parts = [f"{states[state]} {state}" for state in order if states[state] or state == "ok"]
    if failed:
        kinds = ", ".join(f"{count} {state}" for state, count in sorted(failed.items()))
        detail = f" ({kinds})" if set(failed) != {"failed"} else ""
        parts.append(f"{sum(failed.values())} failed{detail}")
    return f"{counted(len(inference), 'cell')}: {', '.join(parts)}."


def _training_sentences(workload: str, scores: list[Score]) -> Iterator[str]:
    winners = [score for score in scores if score.steps is not None]
    if not scores:
        return
    target = next((r["target"] for score in scores for r in score.rows if r["target"] is not None), None)
    metric = scores[0].rows[0]["quality_metric"].replace("_", " ")
    aim = f"{100 * target:g} % {metric}" if target is not None else "the target"
    if winners:
        least_steps, least_time = winners[0], fastest(winners) or winners[0]
        steps = format_value("steps_to_target", least_steps.steps)
        seeds = f", median of {least_steps.seeds} seeds" if least_steps.seeds > 1 else ""
        first = f"{workload}: {least_steps.label} reached {aim} in the fewest steps ({steps}{seeds})"
        if least_time.time_s is not None:
            time = format_value("time_to_target_s", least_time.time_s)
            who = " and" if least_time is least_steps else f"; {least_time.label}"
            first += f"{who} in the least time ({time})"
        yield first + closeness(least_time, winners) + "."
    missed = [_missed(score) for score in scores if score.reached < score.seeds]
    if missed:
        yield f"{workload}: {aim} was not reached by {'; '.join(missed)}."


def closeness(best: Score, winners: list[Score]) -> str:
    """Name the optimizers whose interval of time to target overlaps that of the best one."""
    close = [
        score.label
        for score in winners
        if score is not best
        and best.time_high_s is not None
        and score.time_low_s is not None
        and score.time_low_s <= best.time_high_s
    ]
    return f", statistically tied with {', '.join(close)} (step-time intervals overlap)" if close else ""


def _missed(score: Score) -> str:
    states = Counter(str(row["state"]) for row in score.rows if row["state"] != "ok")
    why = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    count = f" in {score.seeds - score.reached} of {score.seeds} seeds" if score.seeds > 1 else ""
    return f"{score.label}{count}" + (f" ({why})" if why else "")


def _inference_sentences(
    view: RunView, inference: pd.DataFrame, workload: str, scores: list[Score]
) -> Iterator[str]:
    own = inference[inference["workload"] == workload]
    reached = {score.label for score in scores if score.reached}
    for batch_size in own["batch_size"].unique():
        batch = own[own["batch_size"] == batch_size]
        where = f"{workload}, batch {batch_size}"
        picks = {cost: pick(ranked_points(batch, cost), cost, reached) for cost in _TITLES}
        if not any(picks.values()):
            if not ranked_points(batch, "latency_s"):
                continue
            yield f"{where}: no choice stays within {QUALITY_POINTS:g} point of the uncompressed quality."
        for cost, point in picks.items():
            if point:
                others = _others(view, point, ranked_points(batch, cost)) if cost == "latency_s" else ""
                yield f"{where}: {_describe(point, cost)}{others}."


def pick(points: list[dict[str, Any]], cost: str, reached: set[str]) -> dict[str, Any] | None:
    """Return the cheapest point that keeps its quality, of trainings that reached the target if any did."""
    keeping = [point for point in points if keeps_quality(point)]
    labels = training_labels(keeping, points)
    preferred = [point for point, label in zip(keeping, labels, strict=True) if label in reached] or keeping
    # Among equals prefer the one without compression: it takes no extra work.
    return min(preferred, key=lambda p: (p[cost], p["compression"] != NONE, -p["quality"]), default=None)


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


def _others(view: RunView, best: Mapping[str, Any], points: list[dict[str, Any]]) -> str:
    """Name other choices that keep their quality: those that share the best one's timing, and those tied."""
    keeping = [point for point in points if keeps_quality(point) and choice_name(point) != choice_name(best)]
    same = [point for point in keeping if point["infer_keys"] == best["infer_keys"]]
    close = [point for point in keeping if point not in same and may_be_as_fast(view, point, best)]
    parts = [
        f"; {verb} {', '.join(dict.fromkeys(map(choice_name, choices)))}"
        for verb, choices in (("shares its timing with", same), ("statistically tied with", close))
        if choices
    ]
    return "".join(parts)


def choice_name(point: Mapping[str, Any]) -> str:
    return f"{point['compression']} on {point['backend']} ({point['precision']})"


def may_be_as_fast(view: RunView, point: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    ratio = view.latency_ratio(point["infer_key"], best["infer_key"])
    return ratio is not None and ratio.low is not None and ratio.low <= 1


def keeps_quality(point: Mapping[str, Any]) -> bool:
    loss = point["quality_loss_points"]
    return loss is not None and loss <= QUALITY_POINTS
