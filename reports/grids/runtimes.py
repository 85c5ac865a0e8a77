"""The table for people on backends, formats and precisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from bench.formatting import format_value
from reports.frames.view import records
from reports.grids.cell import Column, Entry, Row, keys, metric, plain, speedup, state, timing
from reports.grids.grid import Grid, build_grid

TITLE = "Every backend and format against eager PyTorch in fp32"

_LEAST_BACKENDS = 2


def error(row: Row) -> Entry:
    """Show the largest difference from the model's own outputs, and how large it is beside them."""
    relative = row["relative_error"]
    detail = "" if relative is None else f"{100 * relative:.2g} % of the largest output"
    return Entry(format_value("absolute_error", row["absolute_error"]), detail, row["absolute_error"])


def memory(row: Row) -> Entry:
    """Show what a program takes: of an accelerator's memory, where it runs on one, else of the CPU's.

    Of the whole process where that is known: TensorRT's engines are not in PyTorch's allocator.
    """
    for key, place in (("gpu_process_bytes", "of the process"), ("gpu_allocated_peak_bytes", "allocated")):
        if row[key]:
            return Entry(format_value(key, row[key]), f"on the device, {place}", row[key])
    grown = row["rss_growth_bytes"]
    return Entry(format_value("rss_growth_bytes", grown), "resident growth", grown)


def fastest(row: Row) -> Entry:
    return Entry("◆" if row["fastest"] else "", mark="front" if row["fastest"] else "")


RUNTIMES: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("batch", plain("batch_size")),
    ("backend", plain("backend")),
    ("format", plain("format")),
    ("precision", plain("precision")),
    ("state", state),
    ("fastest", fastest),
    ("speed, × eager fp32", speedup),
    ("latency", timing("latency", "latency_s")),
    ("quality", metric("quality")),
    ("largest error", error),
    ("cosine", metric("cosine")),
    ("size on disk", metric("artifact_bytes")),
    ("lowering", metric("lowering_s")),
    ("load", metric("load_s")),
    ("first call", metric("first_call_s")),
    ("memory", memory),
    ("kernels of the format", plain("format_kernels")),
    ("record", keys("infer_key")),
)


def compares_runtimes(frame: pd.DataFrame) -> bool:
    """Say whether a run holds backends against each other in several formats or precisions."""
    kinds = frame[["format", "precision"]].drop_duplicates()
    return frame["backend"].nunique() >= _LEAST_BACKENDS and len(kinds) > 1


def runtimes_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the table of the frame `runtimes`, none where there is nothing to hold against each other."""
    frame = frames["runtimes"]
    if not compares_runtimes(frame):
        return []
    ran = frame[frame["state"] != "skipped"]
    return [build_grid("runtimes", TITLE, RUNTIMES, ran), _skipped_grid(records(frame))]


def skipped(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """Return which formats and precisions did not run, by backend and reason."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if row["state"] == "skipped":
            kind = " ".join(filter(None, (row["format"], row["precision"])))
            found.setdefault((row["backend"], row["reason"]), {})[kind] = None
    return {place: ", ".join(kinds) for place, kinds in found.items()}


def _skipped_grid(rows: Iterable[Row]) -> Grid:
    lines = [
        (Entry(backend), Entry(kinds), Entry(reason)) for (backend, reason), kinds in skipped(rows).items()
    ]
    title, columns = "Backends and formats that do not run here", ("backend", "in", "why")
    return Grid("not-run", title, columns, tuple(lines))
