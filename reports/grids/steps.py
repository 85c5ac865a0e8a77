"""The table of where the time and the memory of a training step go, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from bench.formatting import format_interval, format_value
from bench.metrics import metric_named
from reports.frames.steps import MEMORY, PARTS
from reports.grids.cell import (
    UNKNOWN,
    Column,
    Entry,
    Row,
    keys,
    metric,
    mfu,
    of_count,
    plain,
    state,
    timing,
)
from reports.grids.devices import DEVICES, PARALLEL
from reports.grids.grid import Grid, build_grid


def _part(part: str) -> Callable[[Row], Entry]:
    """Show the seconds of a part with their interval, and its share of the step with that one's."""

    def make(row: Row) -> Entry:
        spent, share = row[f"{part}_s"], row[f"{part}_share"]
        if spent is None or share is None:
            return Entry(UNKNOWN)
        name = "step_latency_s"
        time = format_interval(name, spent, row[f"{part}_low_s"], row[f"{part}_high_s"])
        return Entry(time, _share(share, row[f"{part}_low_share"], row[f"{part}_high_share"]), spent)

    return make


def _share(share: float, low: float | None, high: float | None) -> str:
    """Write a share with its bounds: `31.2 % (30.9 to 31.6)`."""
    text = f"{100 * share:.1f} %"
    return text if low is None or high is None else f"{text} ({100 * low:.1f} to {100 * high:.1f})"


def _memory(column: str) -> Callable[[Row], Entry]:
    """Show the bytes of a part at the peak, and its share of that."""

    def make(row: Row) -> Entry:
        size, peak = row[column], row["peak_tensor_bytes"]
        if size is None:
            return Entry(UNKNOWN)
        return Entry(format_value(column, size), f"{100 * size / peak:.1f} %" if peak else "", size)

    return make


def _repeats(row: Row) -> Entry:
    """Say whether launches from the same seed had the same first losses."""
    return Entry(UNKNOWN if row["losses_repeat"] is None else "yes" if row["losses_repeat"] else "no")


STEPS: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("optimizer", plain("optimizer")),
    ("backend", plain("train_backend")),
    ("precision", plain("train_precision")),
    ("batch", plain("train_batch_size")),
    *PARALLEL,
    ("machine", plain("machine")),
    ("state", state),
    ("variant", plain("variant")),
    ("step time", timing("step_latency", "step_latency_s")),
    *((metric_named(f"step_{part}_s").label, _part(part)) for part in PARTS),
    ("parts / step", metric("step_parts_ratio")),
    ("first step, with compilation", metric("first_call_s")),
    (metric_named("losses_repeat").label, _repeats),
    *DEVICES,
    ("% of peak (MFU)", mfu),
    ("% of peak with recomputation (HFU)", of_count("hardware_utilization")),
    *((metric_named(column).label, _memory(column)) for column in MEMORY.values()),
    ("peak tensor memory", metric("peak_tensor_bytes")),
    ("notes", plain("notes")),
    ("record", keys("step_key")),
)


def steps_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the table of the frame `steps`."""
    return [
        build_grid("steps", "Where the time and the memory of a training step go", STEPS, frames["steps"])
    ]
