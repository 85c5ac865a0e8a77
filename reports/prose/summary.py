"""What a run came to, for a terminal: for each workload the choices and what failed, in 100 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from bench.formatting import counted, format_interval, format_points, format_value, three_digits, visible
from reports.frames.choices import (
    LATENCY,
    QUALITY_POINTS,
    Choices,
    ServingChoice,
    TrainingChoice,
    choice_name,
    choices_of,
    names_of,
)
from reports.frames.controls import NONE
from reports.frames.view import RunView, records
from reports.grids.cell import PRELIMINARY, shortened
from reports.prose.verdict import SMOKE, closeness, count_cells

COLUMNS = 100

_LABEL = 10
_MAX_NAME = 60
_MAX_TIES = 3
_MAX_REASONS = 2
_WELL = ("ok", "skipped", "pending")

Row = Mapping[str, Any]


def summary(
    view: RunView, frames: Mapping[str, pd.DataFrame], choices: Sequence[Choices] | None = None
) -> list[str]:
    """Return lines of at most 100 columns: the training and serving choice of each workload, its failures.

    From the frames `training` and `inference` of the run; `choices` are those of them, if known already.
    """
    training, inference = frames["training"], frames["inference"]
    if view.smoke:
        lines: Iterable[str] = [SMOKE, count_cells(inference)]
        return [part for line in lines for part in wrapped(line)]
    found: list[str] = []
    for chosen in choices_of(view, frames) if choices is None else choices:
        workload = chosen.workload
        own = inference[inference["workload"] == workload]
        rows = [
            *_training(chosen.training),
            *_serving(chosen.serving),
            *_failures(own if len(own) else training[training["workload"] == workload]),
        ]
        found.append(_folded(shortened(workload, _MAX_NAME), COLUMNS)[0])
        found += [part for label, text in rows for part in _labelled(label, text)]
    return found


def wrapped(text: str, columns: int = COLUMNS) -> list[str]:
    """Return a text as lines of at most so many columns, those after the first indented."""
    first, *rest = _folded(text, columns - 2)
    return [first, *(f"  {line}" for line in rest)]


def _labelled(label: str, text: str) -> Iterator[str]:
    for line in _folded(text, COLUMNS - _LABEL - 2):
        yield f"  {label:<{_LABEL}}{line}"
        label = ""


def _folded(text: str, columns: int) -> list[str]:
    """Return a text folded by the columns that it takes: two for some characters."""
    lines = Text(visible(text)).wrap(Console(width=columns), columns)
    return [line.plain.rstrip() for line in lines] or [""]


def _training(training: TrainingChoice) -> Iterator[tuple[str, str]]:
    best, closest = training.best, training.closest
    if closest is None:
        return
    if best is None:
        quality = format_value("quality", closest.quality)
        yield "train", f"no optimizer reached the target; best quality: {_name(closest.label)}, {quality}"
        return
    time = format_interval("time_to_target_s", best.time_s, best.time_low_s, best.time_high_s)
    took = f", {time}" if best.time_s is not None else ""
    several = len(training.scores) > 1
    alone = ", one seed" if several else ""
    seeds = f", {best.reached} of {counted(best.seeds, 'seed')}" if best.seeds > 1 else alone
    steps = format_value("steps_to_target", best.steps)
    ties = closeness(training.ties, best.seeds).partition(" (")[0]
    missed = sum(score.reached < score.seeds for score in training.scores)
    of = counted(len(training.scores), "optimizer")
    not_all = f"; {missed} of {of} missed the target" if missed else ""
    yield "train", f"{_name(best.label)}: target reached in {steps} steps{took}{seeds}{ties}{not_all}"


def _serving(sizes: Sequence[ServingChoice]) -> Iterator[tuple[str, str]]:
    for serving in sizes:
        where = f"batch {serving.batch_size}: " if len(sizes) > 1 else ""
        best, smallest = serving.fastest, serving.smallest
        if best is None:
            if serving.points[LATENCY]:
                bound = f"{QUALITY_POINTS:g} point of the uncompressed model"
                yield "serve", f"{where}nothing stays within {bound}"
            continue
        yield "serve", f"{where}{_served(best)}{_ties(serving)}"
        if smallest is not None and choice_name(smallest) != choice_name(best):
            yield "smallest", f"{where}{_smallest(smallest)}"


def _served(point: Row) -> str:
    latency = format_interval("latency_s", *(point[f"latency{end}_s"] for end in ("", "_low", "_high")))
    mark = PRELIMINARY if point["preliminary"] else ""
    speedup = point["speedup"]
    faster = f", {three_digits(speedup)}× {NONE} on cpu-eager" if speedup else ""
    return f"{_name(choice_name(point))}: {latency}{mark}{faster}{_change(point)}"


def _smallest(point: Row) -> str:
    size = format_value("artifact_compressed_bytes", point["artifact_compressed_bytes"])
    latency = format_value("latency_s", point["latency_s"])
    return f"{_name(choice_name(point))}: {size} compressed, {latency}{_change(point)}"


def _change(point: Row) -> str:
    loss = point["quality_loss_points"]
    return "" if loss is None else f", quality {format_points(-loss)} points"


def _ties(serving: ServingChoice) -> str:
    """Name choices that may be as fast and stay within the same bound, the first few."""
    names = names_of((*serving.same, *serving.ties))
    shown = ", ".join(_name(name) for name in names[:_MAX_TIES])
    more = f" and {len(names) - _MAX_TIES} more" if len(names) > _MAX_TIES else ""
    return f"; may be as fast: {shown}{more}" if names else ""


def _failures(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Count what is not ok, and give the commonest reasons of what should have run."""
    rows = records(frame, ("state", "reason"))
    states = Counter(str(row["state"]) for row in rows if row["state"] != "ok")
    if not states:
        return
    what = "cell" if "cell" in frame.columns else "training"
    counts = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    yield "not ok", f"{states.total():,} of {counted(len(rows), what)}: {counts}"
    bad = Counter((str(row["state"]), str(row["reason"])) for row in rows if row["state"] not in _WELL)
    for (state, reason), count in bad.most_common(_MAX_REASONS):
        times = f" ({count:,}×)" if count > 1 else ""
        yield "", shortened(f"{state}{times}: {' '.join(reason.split())}", COLUMNS - _LABEL - 2)


def _name(text: str) -> str:
    return shortened(text, _MAX_NAME)
