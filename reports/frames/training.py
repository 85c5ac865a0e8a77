"""Training efficiency: what each point of `[train]` needed to reach the target, and its curves."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.formatting import format_value
from bench.metrics import METRICS
from reports.frames.counts import flops_incomplete, incomplete_counts
from reports.frames.devices import DEVICE_COLUMNS, device_columns, device_notes, devices_text
from reports.frames.further import further_columns, further_values
from reports.frames.money import TRAINING_COLUMNS, training_columns
from reports.frames.precision import is_preliminary
from reports.frames.readings import Reading
from reports.frames.roofline import ROOFLINE_COLUMNS, roofline_columns, step_point, utilization_columns
from reports.frames.tuning import TUNING_COLUMNS, tuning_columns, tuning_notes
from reports.frames.validity import step_fault
from reports.frames.view import TRAIN_AXES, RunView, Training

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

BINDING_LIMIT = 0.5
"""Above this share of steps with clipped gradients, a note says so."""
GAP_LIMIT = 0.05
"""Above this gap between the clocked time to target and steps × median step time, a note says so."""

_TRAIN_METRICS = (
    "steps_to_target",
    "steps_to_target_on_grid",
    "steps_to_first_crossing",
    "steps_trained",
    "effective_batch_size",
    "samples_to_target",
    "time_to_target_s",
    "training_s",
    "evaluation_s",
    *("clip_binding_share", "gradient_norm_median", "gradient_norm_max"),
)
FLOPS = ("forward_flops", "backward_flops", "recomputed_flops", "optimizer_flops")
_STEP_METRICS = (
    *FLOPS,
    "optimizer_state_bytes",
    "optimizer_state_theory_bytes",
    "average_bytes",
    "peak_tensor_bytes",
    "peak_rss_bytes",
    "rss_growth_bytes",
    "gpu_allocated_peak_bytes",
)
_TOLD_BY: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "schedule": lambda row: str(row["schedule"]),
    "clip": lambda row: f"clip {row['clip']}",
    "average": lambda row: f"average {row['average']}",
    "devices": lambda row: "1 device" if row["devices"] == 1 else devices_text(row),
    "train_backend": lambda row: str(row["train_backend"]),
    "train_precision": lambda row: str(row["train_precision"]),
    "train_batch_size": lambda row: f"batch {row['train_batch_size']}",
    "tuning": lambda row: str(row["tuning"]),
}
"""Columns that tell trainings of one optimizer apart, and how their values are said."""
QUALITIES = tuple(name for name in METRICS.qualities if METRICS.is_built_in(name))
COLUMNS = (
    *(*TRAIN_AXES.values(), "machine"),
    *("state", "reason", "quality_metric", "target", "target_reached", "censored"),
    *_TRAIN_METRICS,
    *("time_to_target_by_steps_s", "time_to_target_by_steps_low_s", "time_to_target_by_steps_high_s"),
    *("time_gap", "time_gap_flagged", "flops_to_target", "train_throughput_samples_per_s"),
    *("step_latency_s", "step_latency_low_s", "step_latency_high_s"),
    *("step_latency_launches", "step_latency_preliminary", "step_latency_disturbed"),
    *("step_latency_p90_s", "step_latency_p99_s"),
    *("step_within_variation", "step_throughput_samples_per_s"),
    *_STEP_METRICS,
    *(*ROOFLINE_COLUMNS, "utilization_low", "utilization_high", "hardware_utilization"),
    *("flops_incomplete", "flops_incomplete_in"),
    *DEVICE_COLUMNS,
    *("energy_j", *TRAINING_COLUMNS, *TUNING_COLUMNS),
    *("validation_quality", "validation_gap_points", "quality", "without_training", "baseline_quality"),
    *(*QUALITIES, "notes", "train_key", "step_key"),
)


def training_table(view: RunView) -> pd.DataFrame:
    """Return one row for each point of `[train]`, censored and failed ones included.

    `flops_incomplete` says what the count of a step lacks, `flops_incomplete_in` which of its parts lack it:
    they and all that is derived from them (FLOP/s, utilization, FLOPs to target) are then lower bounds.
    """
    further = further_columns(view, ("train", "step"), COLUMNS)
    rows = [
        _row(view, training) | further_values(view, (training.key, training.step_key), further)
        for training in view.trainings()
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, *further])


def curves(view: RunView) -> pd.DataFrame:
    """Return one row for each evaluation during each training: step, seconds, loss, quality."""
    metrics = [metric for metric in METRICS.curves if METRICS.is_built_in(metric)]
    names = [metric.removeprefix("curve_") for metric in metrics]
    rows = [
        {**training.axes, "train_key": training.key, **dict(zip(names, entry, strict=True))}
        for training in view.trainings()
        for entry in zip_longest(*(view.curve(training.key, metric) for metric in metrics))
    ]
    return pd.DataFrame(rows, columns=[*TRAIN_AXES.values(), "train_key", *names])


def final_quality(view: RunView, training: Training) -> float | None:
    """Return the quality that training ended with, by the workload's first metric."""
    quality = view.value(training.key, "quality")
    return view.value(training.key, training.quality_metric) if quality is None else quality


def _row(view: RunView, training: Training) -> dict[str, Any]:
    key, step_key = training.key, training.step_key
    status = view.status(key)
    reached = view.value(key, "target_reached")
    gap = view.value(key, "validation_gap")
    row: dict[str, Any] = {
        **training.axes,
        "machine": view.machine(step_key, key),
        "state": status.state,
        "reason": status.reason,
        "quality_metric": training.quality_metric,
        "target": training.target,
        "target_reached": None if reached is None else bool(reached),
        "censored": None if reached is None else not reached,
        **{metric: view.value(key, metric) for metric in _TRAIN_METRICS},
        "train_throughput_samples_per_s": view.value(key, "train_throughput"),
        **_step_columns(view, step_key),
        **device_columns(view, training),
        "validation_quality": view.value(key, "validation_quality"),
        "validation_gap_points": None if gap is None else 100 * gap,
        "quality": final_quality(view, training),
        **_without_training(view, key),
        **{metric: view.value(key, metric) for metric in QUALITIES},
        "train_key": key,
        "step_key": step_key,
    }
    row |= _time_by_steps(
        row["steps_to_target"], view.reading(step_key, "step_latency_s"), row["time_to_target_s"]
    )
    row["flops_to_target"] = _flops_to_target(view, row)
    row |= _spent(view, row)
    row |= tuning_columns(view, row)
    row["notes"] = "; ".join(_notes(view, row, training))
    return row


def step_time_columns(view: RunView, key: str) -> dict[str, Any]:
    """Return the time of a step with its interval, and what it rests on."""
    step = view.reading(key, "step_latency_s")
    return {
        "step_latency_s": step.value,
        "step_latency_low_s": step.low,
        "step_latency_high_s": step.high,
        "step_latency_launches": step.launches,
        "step_latency_preliminary": is_preliminary(view, step),
        "step_latency_disturbed": view.status(key).disturbed,
    }


def _step_columns(view: RunView, key: str) -> dict[str, Any]:
    point = step_point(view, key)
    return {
        **step_time_columns(view, key),
        "step_latency_p90_s": view.value(key, "step_latency_p90_s"),
        "step_latency_p99_s": view.value(key, "step_latency_p99_s"),
        "step_within_variation": view.value(key, "within_variation"),
        "step_throughput_samples_per_s": view.value(key, "step_throughput"),
        **{metric: view.value(key, metric) for metric in _STEP_METRICS},
        **roofline_columns(point),
        **utilization_columns(view, key, point),
        "flops_incomplete": flops_incomplete(view, key),
        "flops_incomplete_in": incomplete_counts(view, key, FLOPS),
    }


def _without_training(view: RunView, key: str) -> dict[str, Any]:
    """Return the best of the answers that need no training, and what it is."""
    known = {
        name: view.value(key, "baseline_quality", name) for name in view.qualifiers(key, "baseline_quality")
    }
    found = {name: value for name, value in known.items() if value is not None}
    best = max(found, key=lambda name: found[name], default="")
    return {"without_training": best, "baseline_quality": found.get(best)}


def _time_by_steps(steps: float | None, step: Reading, clocked_s: float | None) -> dict[str, Any]:
    def times(step_s: float | None) -> float | None:
        return None if steps is None or step_s is None else steps * step_s

    computed_s = times(step.value)
    gap = None if clocked_s is None or not computed_s else clocked_s / computed_s - 1
    return {
        "time_to_target_by_steps_s": computed_s,
        "time_to_target_by_steps_low_s": times(step.low),
        "time_to_target_by_steps_high_s": times(step.high),
        "time_gap": gap,
        "time_gap_flagged": None if gap is None else abs(gap) > GAP_LIMIT,
    }


def _spent(view: RunView, row: Mapping[str, Any]) -> dict[str, Any]:
    step_j, steps = view.value(row["step_key"], "energy_j"), row["steps_to_target"]
    energy_j = None if step_j is None or steps is None else step_j * steps
    return {"energy_j": energy_j, **training_columns(view, row["time_to_target_by_steps_s"], energy_j)}


def _flops_to_target(view: RunView, row: Mapping[str, Any]) -> float | None:
    measured = view.value(row["train_key"], "flops_to_target")
    if measured is not None:
        return measured
    of_step, steps = step_flops(row), row["steps_to_target"]
    return None if of_step is None or steps is None else steps * of_step


def step_flops(row: Mapping[str, Any]) -> float | None:
    """Return the FLOPs of a step: forward, backward and optimizer; None where one of them is not counted.

    What the backward pass computes again is no part of it, as it is none of MFU.
    """
    parts = [row[f"{part}_flops"] for part in ("forward", "backward", "optimizer")]
    return None if None in parts else float(sum(parts))


def _notes(view: RunView, row: Mapping[str, Any], training: Training) -> list[str]:
    notes: list[str] = []
    if row["censored"]:
        trained = format_value("steps_trained", row["steps_trained"])
        notes.append(f"censored: target not held within {trained} steps")
    elif row["time_to_target_s"] is None:
        reason = view.reading(row["train_key"], "time_to_target_s").reason
        notes += [f"no clocked time: {reason}"] if reason else []
    period, on_grid = view.value(row["train_key"], "evaluation_period"), row["steps_to_target_on_grid"]
    if on_grid is not None and period is not None and on_grid <= period:
        notes.append("the target held at the first evaluation: steps and time to it are upper bounds")
    held, asked = row["effective_batch_size"], row["train_batch_size"]
    if held is not None and asked is not None and held < asked:
        notes.append(f"batches of {held:g} samples: the training set has fewer than {asked:g}")
    notes += tuning_notes(view, row)
    read = view.reading(row["train_key"], "training_samples").method
    notes += [f"data: {read}"] if read else []
    if row["time_gap_flagged"]:
        notes.append(f"clocked time differs by {100 * row['time_gap']:+.1f} % from steps × median step time")
    binds = clipping_note(row)
    notes += [binds] if binds else []
    step = view.status(row["step_key"])
    if row["step_key"] and step.bad:
        notes.append(f"step timing {step.state}: {step.reason}")
    notes += device_notes(view, training)
    fault = step_fault(view, row["step_key"])
    if fault:
        notes.append(f"step timing INVALID: {fault}")
    return notes


def clipping_note(row: Mapping[str, Any]) -> str:
    """Say that clipping sets the length of most steps, and by how much it shortens them; else nothing."""
    share = row["clip_binding_share"]
    if share is None or share <= BINDING_LIMIT:
        return ""
    norms = ("gradient_norm_median", "gradient_norm_max")
    median, largest = (format_value(name, row[name]) for name in norms)
    return (
        f"clip {row['clip']} binds in {100 * share:.0f} % of the steps and sets the length of their "
        f"gradients (norms before: median {median}, largest {largest})"
    )


def training_label(
    row: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], *, without: Collection[str] = ()
) -> str:
    """Name a training by its optimizer and by what else tells it from the others; the seed is left out.

    Columns `without` which it is named are left out too.
    """
    return training_labels([row], rows, without=without)[0]


def training_labels(
    named: Iterable[Mapping[str, Any]], rows: Iterable[Mapping[str, Any]], *, without: Collection[str] = ()
) -> list[str]:
    """Return the `training_label` of each of several rows: what tells the others apart is found once."""
    others = list(rows)
    varying = [
        tell
        for column, tell in _TOLD_BY.items()
        if column not in without and len({tell(other) for other in others}) > 1
    ]
    return [", ".join([str(row["optimizer"]), *(tell(row) for tell in varying)]) for row in named]
