"""The table of backends, formats and precisions for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from bench.formatting import format_value
from reports.frames.view import records
from reports.grids.cell import Column, Entry, Row, keys, metric, plain, speedup, state, timing
from reports.grids.grid import Grid, build_grid

TITLE = "Backends and formats compared with eager PyTorch in fp32"

_MIN_BACKENDS = 2


def error(row: Row) -> Entry:
    """Show the largest difference from the model's own outputs, absolute and relative."""
    relative = row["relative_error"]
    detail = "" if relative is None else f"{100 * relative:.2g} % of the largest output"
    return Entry(format_value("absolute_error", row["absolute_error"]), detail, row["absolute_error"])


def memory(row: Row) -> Entry:
    """Show a program's memory: on the accelerator where it runs on one, else on the CPU.

    The whole process counts where that is known: TensorRT's engines are not in PyTorch's allocator.
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
    ("speedup vs eager fp32", speedup),
    ("latency", timing("latency", "latency_s")),
    ("quality", metric("quality")),
    ("largest error", error),
    ("cosine", metric("cosine")),
    ("size on disk", metric("artifact_bytes")),
    ("lowering", metric("lowering_s")),
    ("load", metric("load_s")),
    ("first call", metric("first_call_s")),
    ("memory", memory),
    ("kernels in that format", plain("format_kernels")),
    ("record", keys("infer_key")),
)


def compares_runtimes(frame: pd.DataFrame) -> bool:
    """Say whether a run compares backends in several formats or precisions."""
    kinds = frame[["format", "precision"]].drop_duplicates()
    return frame["backend"].nunique() >= _MIN_BACKENDS and len(kinds) > 1


def runtimes_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the table of the frame `runtimes`; no table where there is nothing to compare."""
    frame = frames["runtimes"]
    if not compares_runtimes(frame):
        return []
    ran = frame[frame["state"] != "skipped"]
    return [build_grid("runtimes", TITLE, RUNTIMES, ran), _skipped_grid(records(frame))]


def skipped(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """Return the formats and precisions that were skipped, by backend and reason."""
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
    title, columns = "Unavailable backends and formats", ("backend", "formats and precisions", "reason")
    return Grid("not-run", title, columns, tuple(lines))
