"""What the terminal shows at the end of a run: a few rows of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.formatting import format_interval, format_value
from reports.frames import inference_table, runtimes_table, training_table
from reports.frames.scores import Score, fastest, optimizer_scores
from reports.frames.view import TRAIN_AXES, read, records
from reports.grids.cell import PRELIMINARY, UNKNOWN
from reports.grids.runtimes import TITLE, compares_runtimes, memory
from reports.prose.overheads import overhead_text as overhead_text_of
from reports.prose.predicted import estimate_text as estimate_text_of

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.store import Store


@dataclass(frozen=True)
class ShortTable:
    """A table of plain strings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def short_tables(store: Store, run_id: str) -> list[ShortTable]:
    """Return for each workload a row per optimizer, and a row per compression × backend.

    The second shows the training that reached the target in the least time, its first seed. Where a run
    compresses by formats alone, a row per backend × format × precision stands for it.
    """
    view = read(store, run_id)
    training, inference = training_table(view), inference_table(view)
    runtimes = runtimes_table(view, inference)
    by_formats = compares_runtimes(runtimes) and _formats_alone(runtimes, inference)
    found: list[ShortTable] = []
    for workload in dict.fromkeys([*training["workload"], *inference["workload"]]):
        scores = optimizer_scores(training, workload)
        if scores:
            found.append(_training(str(workload), scores))
        if by_formats:
            found.append(_runtimes(str(workload), records(runtimes[runtimes["workload"] == workload])))
        else:
            own = records(inference[inference["workload"] == workload])
            found.append(_inference(str(workload), own, fastest(scores)))
    return found


def notes_text(store: Store, run_id: str) -> str:
    """Return a line on what was left out of each workload's data, and on each record that cannot be read."""
    view = read(store, run_id)
    left_out = {
        str(training.axes["workload"]): view.reading(training.key, "training_samples").method
        for training in view.trainings()
    }
    lines = [f"data of {workload}: {text}" for workload, text in left_out.items() if text]
    lines += [
        f"{view.stages[key].kind} {view.stages[key].label}: {reason}"
        for key, reason in view.unreadable
        if key in view.stages
    ]
    return "\n".join(f"note: {line}" for line in lines)


def _formats_alone(runtimes: pd.DataFrame, inference: pd.DataFrame) -> bool:
    return set(inference["compression"]) <= {"none", *runtimes["format"]}


def _runtimes(workload: str, rows: Sequence[dict[str, Any]]) -> ShortTable:
    columns = (
        *("backend", "format", "precision", "batch", "× eager fp32", "latency", "quality", "cosine"),
        *("largest error", "size", "lowering", "load", "memory", ""),
    )
    shown = tuple(_runtimes_row(row) for row in rows if row["state"] != "skipped")
    return ShortTable(f"{TITLE}: {workload}", columns, shown)


def _runtimes_row(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["speedup_low"], row["speedup_high"]
    bounds = f" ({low:.3g} to {high:.3g})" if low is not None and low != high else ""
    note = "◆ fastest" if row["fastest"] else ""
    return (
        *(str(row[name]) for name in ("backend", "format", "precision", "batch_size")),
        UNKNOWN if row["speedup"] is None else f"{row['speedup']:.3g}×{bounds}",
        format_value("latency_s", row["latency_s"]) + (PRELIMINARY if row["latency_preliminary"] else ""),
        *(format_value(name, row[name]) for name in ("quality", "cosine", "absolute_error")),
        *(format_value(name, row[name]) for name in ("artifact_bytes", "lowering_s", "load_s")),
        memory(row).text,
        note if row["state"] == "ok" else str(row["state"]),
    )


def estimate_text(store: Store, run_id: str) -> str:
    """Return lines on what the run predicted of itself and what it took."""
    return estimate_text_of(read(store, run_id))


def overhead_text(store: Store, run_id: str) -> str:
    """Return lines on the run's wall time outside stage bodies and what it is made of."""
    return overhead_text_of(read(store, run_id))


def _training(workload: str, scores: Sequence[Score]) -> ShortTable:
    columns = ("optimizer", "reached", "steps", "time to target", "step time", "quality")
    rows = tuple(
        (
            score.label,
            f"{score.reached}/{score.seeds}",
            _steps(score),
            format_value("time_to_target_s", score.time_s),
            _interval(
                next((row for row in score.rows if row["step_latency_s"] is not None), score.rows[0]),
                "step_latency",
            ),
            format_value("quality", score.quality),
        )
        for score in scores
    )
    return ShortTable(f"Training to the target: {workload}", columns, rows)


def _steps(score: Score) -> str:
    if score.steps is not None:
        return format_value("steps_to_target", score.steps)
    bad = [row["state"] for row in score.rows if row["state"] != "ok"]
    trained = max((row["steps_trained"] or 0 for row in score.rows), default=0)
    what = ", ".join(dict.fromkeys([*bad, *(["censored"] if trained else [])]))
    return f"> {format_value('steps_trained', trained)} ({what})" if trained else what


def _inference(workload: str, rows: Sequence[dict[str, Any]], best: Score | None) -> ShortTable:
    shown = list(rows)
    if best:
        # By axes, not by stage key: a cell that was left out may name no stages.
        own = next((row for row in best.rows if row["state"] == "ok"), best.rows[0])
        shown = [row for row in rows if all(row[axis] == own[axis] for axis in TRAIN_AXES.values())]
    varying = [name for name in ("precision", "batch_size") if len({row[name] for row in shown}) > 1]
    columns = ("compression", "backend", *varying, "quality", "latency", "× eager none", "size", "")
    title = f"Inference: {workload}" + (f", trained by {best.label}" if best else "")
    # What was left out has its reason in the report; here it would only widen a column.
    shown = [row for row in shown if row["state"] != "skipped"]
    return ShortTable(title, columns, tuple(_inference_row(row, varying) for row in shown))


def _inference_row(row: dict[str, Any], varying: Sequence[str]) -> tuple[str, ...]:
    speedup = UNKNOWN if row["speedup"] is None else f"{row['speedup']:.3g}×"
    ok = row["state"] == "ok"
    note = "◆ Pareto" if row["pareto"] else ""
    return (
        str(row["compression"]),
        str(row["backend"]),
        *(str(row[name]) for name in varying),
        format_value("quality", row["quality"]),
        _interval(row, "latency"),
        speedup,
        format_value("artifact_bytes", row["artifact_bytes"]),
        note if ok else str(row["state"]),
    )


def _interval(row: dict[str, Any], key: str) -> str:
    """Write a time with the bounds of its interval, marked where it is preliminary."""
    if row[f"{key}_s"] is None:
        return UNKNOWN
    bounds = (row[f"{key}_s"], row[f"{key}_low_s"], row[f"{key}_high_s"])
    return format_interval(f"{key}_s", *bounds) + (PRELIMINARY if row[f"{key}_preliminary"] else "")
