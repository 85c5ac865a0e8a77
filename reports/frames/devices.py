"""What it brings that several devices train together: efficiency, communication and memory of a rank."""

from __future__ import annotations

from typing import Any

from bench.analysis.statistics import Interval, ratio_interval
from reports.frames.view import RunView, Training

DEVICE_COLUMNS = (
    *("scaling_efficiency", "scaling_efficiency_low", "scaling_efficiency_high"),
    "scaling_efficiency_preliminary",
    *("single_step_s", "single_step_low_s", "single_step_high_s", "single_threads"),
    *("communication_share", "collectives_per_step", "rank_peak_rss_bytes", "single_key"),
)


def device_columns(view: RunView, training: Training) -> dict[str, Any]:
    """Return the columns of a training on several devices; all None of a training on one.

    The efficiency of n devices is the step time on one of them over n times that on all, of the same batch
    (strong scaling; Amdahl 1967): both from launches of this run, with the interval of their ratio.
    """
    devices = training.axes["devices"]
    if not isinstance(devices, int) or devices == 1:
        return dict.fromkeys(DEVICE_COLUMNS)
    step, single = training.step_key, training.single_key
    alone, found = view.reading(single, "single_step_s"), efficiency(view, training, devices)
    return {
        "scaling_efficiency": found and found.value,
        "scaling_efficiency_low": found and found.low,
        "scaling_efficiency_high": found and found.high,
        "scaling_efficiency_preliminary": found and found.preliminary,
        "single_step_s": alone.value,
        "single_step_low_s": alone.low,
        "single_step_high_s": alone.high,
        "single_threads": view.value(single, "single_threads"),
        "communication_share": view.value(step, "communication_share"),
        "collectives_per_step": view.value(step, "collectives_per_step"),
        "rank_peak_rss_bytes": _largest_rank(view, step),
        "single_key": single,
    }


def efficiency(view: RunView, training: Training, devices: int) -> Interval | None:
    """Return the scaling efficiency with its interval; None where one of the two step times is unknown."""
    alone = view.launch_values(training.single_key, "single_step_s")
    together = view.launch_values(training.step_key, "step_latency_s")
    if not alone or not together or view.invalid(training.single_key) or view.invalid(training.step_key):
        return None
    found = ratio_interval(alone, together)
    low, high = (bound and bound / devices for bound in (found.low, found.high))
    return Interval(found.value / devices, low, high, found.n, found.method, found.preliminary)


def device_notes(view: RunView, training: Training) -> list[str]:
    """Say what became of the step on one device, where that is not known, and how many ranks trained."""
    status = view.status(training.single_key)
    ranks = view.reading(training.step_key, "ranks").method
    return [
        *([f"step on one device {status.state}: {status.reason}"] if status.bad else []),
        *([ranks] if ranks else []),
    ]


def _largest_rank(view: RunView, key: str) -> float | None:
    metric = "rank_peak_rss_bytes"
    known = [view.value(key, metric, rank) for rank in view.qualifiers(key, metric)]
    values = [value for value in known if value is not None]
    return max(values) if values and len(values) == len(known) else None


def devices_text(axes: Any) -> str:
    """Name the devices of a training, as `ddp x2`."""
    return f"{axes['parallel']} x{axes['devices']}"
