"""Where the time and the memory of a training step go: a row for each step that was timed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.frames.counts import flops_incomplete, incomplete_counts
from reports.frames.devices import DEVICE_COLUMNS, device_columns, device_notes
from reports.frames.roofline import step_point, utilization_columns
from reports.frames.training import FLOPS, step_time_columns
from reports.frames.validity import step_fault
from reports.frames.view import TRAIN_AXES, RunView, Training

PARTS = ("data", "forward", "backward", "optimizer")
MEMORY = {
    "weights": "peak_weights_bytes",
    "gradients": "peak_gradients_bytes",
    "optimizer state": "peak_optimizer_bytes",
    "activations": "peak_activations_bytes",
}
"""What the peak of a step's tensors is made of, and the metric of each part."""

_AXES = tuple(column for column in TRAIN_AXES.values() if column != "seed")
_OF_A_PART = ("s", "low_s", "high_s", "share", "low_share", "high_share")
_UTILIZATION = ("utilization", "utilization_low", "utilization_high", "hardware_utilization")
COLUMNS = (
    *(*_AXES, "machine", "state", "variant"),
    *("step_latency_s", "step_latency_low_s", "step_latency_high_s"),
    *("step_latency_launches", "step_latency_preliminary", "step_latency_disturbed"),
    *(f"{part}_{what}" for part in PARTS for what in _OF_A_PART),
    *("step_parts_ratio", "first_call_s"),
    "losses_repeat",
    *DEVICE_COLUMNS,
    *(*_UTILIZATION, "flops_incomplete", "flops_incomplete_in"),
    *("peak_tensor_bytes", *MEMORY.values()),
    *("notes", "step_key"),
)


def steps_table(view: RunView) -> pd.DataFrame:
    """Return one row for each timed step of training, which all seeds share.

    `data_s` to `optimizer_s` are the seconds of a step's parts, `data_share` to `optimizer_share` their
    shares, each with a 95 % interval over launches. `step_parts_ratio` is what the parts add up to, over the
    step time, as both were measured in passes of their own. `first_call_s` is until the first step is taken,
    with all that is compiled for it. The bytes of the peak add up to
    `peak_tensor_bytes`. `losses_repeat` says whether launches from the same seed had the same first losses,
    bit for bit; None of a single launch. `variant` says how the optimizer goes over its tensors, where it
    tells.
    """
    known = {training.step_key: training for training in view.trainings() if training.step_key}
    return pd.DataFrame([_row(view, training) for training in known.values()], columns=list(COLUMNS))


def _row(view: RunView, training: Training) -> dict[str, Any]:
    key = training.step_key
    return {
        **{column: training.axes[column] for column in _AXES},
        "machine": view.machine(key),
        "state": view.status(key).state,
        "variant": _variant(view, key),
        **step_time_columns(view, key),
        **{name: value for part in PARTS for name, value in _part(view, key, part).items()},
        **{name: view.value(key, name) for name in ("step_parts_ratio", "first_call_s")},
        "losses_repeat": _losses_repeat(view, key),
        **device_columns(view, training),
        **utilization_columns(view, key, step_point(view, key)),
        "flops_incomplete": flops_incomplete(view, key),
        "flops_incomplete_in": incomplete_counts(view, key, FLOPS),
        **{metric: view.value(key, metric) for metric in ("peak_tensor_bytes", *MEMORY.values())},
        "notes": "; ".join([*_notes(view, key), *device_notes(view, training)]),
        "step_key": key,
    }


def _part(view: RunView, key: str, part: str) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for unit in ("s", "share"):
        reading = view.reading(key, f"step_{part}_{unit}")
        found |= {
            f"{part}_{unit}": reading.value,
            f"{part}_low_{unit}": reading.low,
            f"{part}_high_{unit}": reading.high,
        }
    return found


def _losses_repeat(view: RunView, key: str) -> bool | None:
    losses = view.launch_values(key, "early_loss")
    return len(set(losses)) == 1 if len(losses) > 1 else None


def _variant(view: RunView, key: str) -> str:
    """Return how the optimizer goes over its tensors: the records of its groups begin with it."""
    methods = [
        view.reading(key, "optimizer_parameters", qualifier).method
        for qualifier in view.qualifiers(key, "optimizer_parameters")
    ]
    return ", ".join(dict.fromkeys(method.partition(": ")[0] for method in methods if ": " in method))


def _notes(view: RunView, key: str) -> list[str]:
    status = view.status(key)
    fault = step_fault(view, key)
    unknown = view.reading(key, "step_data_s").reason
    return [
        *([f"step timing {status.state}: {status.reason}"] if status.bad else []),
        *([f"step timing INVALID: {fault}"] if fault else []),
        *([f"parts unknown: {unknown}"] if unknown else []),
    ]
