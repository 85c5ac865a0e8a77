"""Inference cost and quality: one row for each cell, whatever its state."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.analysis.statistics import Interval
from reports.frames.break_even import BREAK_EVEN_COLUMNS, set_break_even
from reports.frames.counts import flops_incomplete
from reports.frames.further import further_columns, further_lists
from reports.frames.money import SERVING_COLUMNS, serving_columns
from reports.frames.pareto import POINT_AXES, point_of, points_by_cost
from reports.frames.precision import converged, is_preliminary
from reports.frames.roofline import ROOFLINE_COLUMNS, infer_point, roofline_columns
from reports.frames.training import final_quality
from reports.frames.validity import infer_fault
from reports.frames.view import CELL_STAGES, INFER_AXES, TRAIN_AXES, RunView, training_of

if TYPE_CHECKING:
    from bench.results.store import CellRow

REFERENCE_COMPRESSION, REFERENCE_BACKEND = "none", "cpu-eager"

_INFER_METRICS = {
    "latency_p90_s": "latency_p90_s",
    "latency_p99_s": "latency_p99_s",
    "fastest_s": "latency_fastest_s",
    "within_variation": "latency_within_variation",
    "page_faults": "page_faults_per_call",
    "effective_samples": "latency_effective_samples",
    "throughput": "throughput_samples_per_s",
    "load_s": "load_s",
    "first_call_s": "first_call_s",
    "device_s": "device_s",
    "runtime_s": "runtime_s",
    "peak_tensor_bytes": "peak_tensor_bytes",
    "peak_rss_bytes": "peak_rss_bytes",
    "rss_growth_bytes": "rss_growth_bytes",
    "gpu_allocated_peak_bytes": "gpu_allocated_peak_bytes",
    "gpu_reserved_peak_bytes": "gpu_reserved_peak_bytes",
    "gpu_process_bytes": "gpu_process_bytes",
    "gpu_power_w": "gpu_power_w",
    "gpu_clocks_held": "gpu_clocks_held",
    "energy_j": "energy_j",
}
_LOWER_METRICS = (
    *("artifact_bytes", "artifact_compressed_bytes", "parameters", "nonzero_parameters"),
    *("dense_flops", "effective_flops", "fvcore_flops", "least_bytes_moved", "lowering_s"),
)
_SERVE_METRICS = ("server_rate_per_s", "server_p99_s", "server_bound_s")
_EVALUATE_METRICS = (
    *("accuracy", "macro_recall", "reference_agreement", "top1_agreement"),
    *("relative_error", "absolute_error", "cosine", "answers_lost", "answers_won"),
    *("kl_divergence", "top5_agreement", "ece", "brier", "nll"),
)
_TIMING = (
    *("latency_s", "latency_low_s", "latency_high_s", "latency_launches"),
    *("latency_disturbed", "latency_preliminary"),
    *("latency_converged", "latency_between_variation"),
)
_MEASURING = ("evaluate", "lower", "infer", "serve")
"""Kinds of stages whose further metrics a cell's row has."""

COLUMNS = (
    *("cell", *TRAIN_AXES.values(), *INFER_AXES.values(), "machine", "state", "reason"),
    *("quality_metric", "quality", "quality_loss_points", "quality_reference", *_EVALUATE_METRICS, "valid"),
    *_TIMING,
    *("speedup", "speedup_low", "speedup_high"),
    *(*ROOFLINE_COLUMNS, "flops_incomplete"),
    *SERVING_COLUMNS,
    *BREAK_EVEN_COLUMNS,
    *_SERVE_METRICS,
    *_INFER_METRICS.values(),
    *_LOWER_METRICS,
    *("bits_per_weight", "effective_bits_per_weight"),
    *("ranked", "pareto", "pareto_size"),
    *("train_key", "compress_key", "lower_key", "evaluate_key", "infer_key"),
)

_KINDS = (*CELL_STAGES, "serve")
_SOURCES = (
    *("cell", *TRAIN_AXES.values(), *INFER_AXES.values(), "machine", "state", "ranked"),
    *("quality", "latency_s", "energy_j", "energy_estimate_j", "money_per_million"),
    *(f"{kind}_key" for kind in CELL_STAGES),
)
"""Columns that others follow from, row by row."""
_DERIVED = (
    *("quality_loss_points", "quality_reference", "speedup", "speedup_low", "speedup_high"),
    *BREAK_EVEN_COLUMNS,
)


def inference_table(view: RunView) -> pd.DataFrame:
    """Return one row for each cell, in the order of the matrix, skipped and failed ones included.

    `ranked` are cells that are measured and not INVALID. `pareto` and `pareto_size` mark those of them that
    no other of the same workload and batch size beats in both quality and latency, or compressed size: none
    in a smoke run.
    """
    cells = [cell for cell in view.cells if cell.skipped or "lower" in cell.stages]
    keys = {kind: [str(cell.stages.get(kind) or "") for cell in cells] for kind in _KINDS}
    columns = _columns(view, cells, keys)
    rows = [dict(zip(_SOURCES, row, strict=True)) for row in zip(*map(columns.get, _SOURCES), strict=True)]
    _set_quality_loss(view, rows)
    _set_speedup(view, rows)
    set_break_even(view, rows)
    columns |= {name: [row[name] for row in rows] for name in _DERIVED}
    further = further_columns(view, _MEASURING, COLUMNS)
    columns |= further_lists(view, [keys[kind] for kind in _MEASURING], further)
    flags = ("pareto", "pareto_size")
    names = [name for name in (*COLUMNS, *further) if name not in flags]
    frame = pd.DataFrame({name: columns[name] for name in names})
    points = list(zip(*(columns[name] for name in POINT_AXES), strict=True))
    costs = ("latency_s", "artifact_compressed_bytes")
    found = {} if view.smoke else points_by_cost(frame, costs)
    for flag, cost in zip(flags, costs, strict=True):
        front = {point_of(point) for point in found.get(cost, ()) if point["pareto"]}
        own = zip(columns["ranked"], points, strict=True)
        frame[flag] = [bool(ranked) and point in front for ranked, point in own]
    return frame[[*COLUMNS, *further]]


def _columns(view: RunView, cells: list[CellRow], keys: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return what the stages of each cell measured, by column."""
    evaluate, infer, lower = keys["evaluate"], keys["infer"], keys["lower"]
    valid, metrics = view.values("valid"), {key.key: key.quality_metric for key in view.trainings()}
    states = [cell_states(view)[cell.name] for cell in cells]
    quality = values_of(view, "quality", evaluate)
    found: dict[str, Any] = {
        "cell": [cell.name for cell in cells],
        **{column: [c.axes.get(axis) for c in cells] for axis, column in (TRAIN_AXES | INFER_AXES).items()},
        "machine": [view.machine(*own) for own in zip(infer, evaluate, keys["train"], strict=True)],
        "state": [state for state, _ in states],
        "reason": [reason for _, reason in states],
        "quality_metric": [metrics.get(key, "") for key in keys["train"]],
        "quality": quality,
        **_measured(view, dict(zip(_EVALUATE_METRICS, _EVALUATE_METRICS, strict=True)), evaluate),
        "valid": [None if (known := valid.get(key)) is None else bool(known) for key in evaluate],
        **_measured(view, dict(zip(_LOWER_METRICS, _LOWER_METRICS, strict=True)), lower),
        **_measured(view, dict(zip(_SERVE_METRICS, _SERVE_METRICS, strict=True)), keys["serve"]),
        "bits_per_weight": _bits_per_weight(view, lower, "artifact_bytes"),
        "effective_bits_per_weight": _bits_per_weight(view, lower, "artifact_compressed_bytes"),
        "flops_incomplete": [flops_incomplete(view, key) for key in lower],
        **{f"{kind}_key": keys[kind] for kind in CELL_STAGES},
    }
    found |= _of_calls(view, infer, lower, found["batch_size"])
    ranked = zip(found["state"], found["latency_s"], quality, strict=True)
    found["ranked"] = [state == "ok" and None not in known for state, *known in ranked]
    return found


def values_of(view: RunView, metric: str, keys: list[str]) -> list[float | None]:
    """Return a metric of each of these stages, None where it is unknown."""
    values = view.values(metric)
    return [values.get(key) for key in keys]


def _measured(view: RunView, metrics: Mapping[str, str], keys: list[str]) -> dict[str, np.ndarray]:
    """Return metrics of each of these stages by column, float64; `metrics` maps them to their columns."""
    numbers = view.numbers(keys)
    return {column: view.column(metric, numbers) for metric, column in metrics.items()}


def _of_calls(view: RunView, infer: list[str], lower: list[str], batch_sizes: list[Any]) -> dict[str, Any]:
    """Return the columns of timed calls, which cells of one structure share."""
    timed = {key: _timing(view, key) for key in dict.fromkeys(infer)}
    priced = {pair: _price(view, *pair) for pair in dict.fromkeys(zip(infer, batch_sizes, strict=True))}
    parts = (
        [timed[key] for key in infer],
        [roofline_columns(infer_point(view, *pair)) for pair in zip(infer, lower, strict=True)],
        [priced[pair] for pair in zip(infer, batch_sizes, strict=True)],
    )
    names = (_TIMING, ROOFLINE_COLUMNS, SERVING_COLUMNS)
    columns: dict[str, Any] = {
        name: [row[name] for row in rows] for own, rows in zip(names, parts, strict=True) for name in own
    }
    measured = _measured(view, _INFER_METRICS, infer)
    # Others follow from it, row by row.
    return columns | measured | {"energy_j": values_of(view, "energy_j", infer)}


def _timing(view: RunView, key: str) -> dict[str, Any]:
    latency, status = view.reading(key, "latency_s"), view.status(key)
    preliminary = is_preliminary(view, latency) or 0 < status.good == status.disturbed
    between = _between(view.launch_values(key, "latency_s"))
    values = (latency.value, latency.low, latency.high, latency.launches, status.disturbed, preliminary)
    return dict(zip(_TIMING, (*values, converged(view, latency), between), strict=True))


def _price(view: RunView, key: str, batch_size: Any) -> dict[str, Any]:
    latency_s, energy_j = view.value(key, "latency_s"), view.value(key, "energy_j")
    return serving_columns(view, latency_s, int(batch_size or 1), energy_j)


def _bits_per_weight(view: RunView, lower: list[str], size: str) -> np.ndarray:
    numbers = view.numbers(lower)
    weights = view.column("parameters", numbers)
    found: np.ndarray = 8 * view.column(size, numbers) / np.where(weights > 0, weights, np.nan)
    return found


def _between(medians: list[float]) -> float | None:
    return statistics.stdev(medians) / statistics.fmean(medians) if len(medians) > 1 else None


def _quality(view: RunView, cell: CellRow) -> float | None:
    return view.value(str(cell.stages.get("evaluate") or ""), "quality")


def cell_states(view: RunView) -> Mapping[str, tuple[str, str]]:
    """Return the `cell_state` of each cell of a run by its name."""
    return view.once("cell states", lambda: {cell.name: cell_state(view, cell) for cell in view.cells})


def cell_state(view: RunView, cell: CellRow) -> tuple[str, str]:
    """Return a cell's state and the reason: of the first of its stages that is not well."""
    if cell.skipped:
        return "skipped", cell.skipped
    keys = [str(cell.stages[kind]) for kind in CELL_STAGES if cell.stages.get(kind)]
    evaluate = str(cell.stages.get("evaluate") or "")
    if view.value(evaluate, "valid") == 0:
        reason = view.reading(evaluate, "valid").reason
        return "INVALID", reason or "outputs are outside the format's tolerance"
    infer = str(cell.stages.get("infer") or "")
    if view.invalid(infer):
        return "INVALID", f"timed call: {view.invalid(infer)}"
    if not keys or not view.well.issuperset(keys):
        for key in keys:
            status = view.status(key)
            if status.bad:
                return status.state, f"{view.stages[key].kind}: {status.reason}" if key in view.stages else ""
        return "pending", "" if view.run["state"] == "running" else "the run ended before it was measured"
    fault = infer_fault(view, infer, str(cell.stages.get("lower") or ""))
    return ("INVALID", f"timing: {fault}") if fault else ("ok", "")


def _references(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if (row["compression"], row["backend"]) == (REFERENCE_COMPRESSION, REFERENCE_BACKEND):
            found.setdefault(training_of(row), []).append(row)
    return found


def _set_quality_loss(view: RunView, rows: list[dict[str, Any]]) -> None:
    """Compare each quality with the uncompressed eager model of the same training.

    Without such a cell in the matrix the quality that training ended with stands in; a column says which.
    """
    references = _references(rows)
    trained = {training.key: final_quality(view, training) for training in view.trainings()}
    nearest: dict[tuple[Any, ...], Mapping[str, Any] | None] = {}
    for row in rows:
        training = training_of(row)
        place = (*training, row["precision"], row["batch_size"])
        if place not in nearest:
            candidates = [c for c in references.get(training, []) if c["quality"] is not None]
            nearest[place] = min(candidates, key=partial(_distance, row=row), default=None)
        best = nearest[place]
        reference = best["quality"] if best else trained.get(row["train_key"])
        known = row["quality"] is not None and reference is not None
        row["quality_loss_points"] = 100 * (reference - row["quality"]) if known else None
        row["quality_reference"] = (best["cell"] if best else "end of training") if known else ""


def _distance(reference: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    return (
        reference["precision"] != "fp32",
        reference["precision"] != row["precision"],
        reference["batch_size"] != row["batch_size"],
    )


def _set_speedup(view: RunView, rows: list[dict[str, Any]]) -> None:
    references: dict[tuple[Any, ...], dict[str, Any]] = {}
    for training, same in _references(rows).items():
        for reference in same:
            references.setdefault((*training, *_place(reference)), reference)
    for row in rows:
        ratio: Interval | None = None
        known = references.get((*training_of(row), *_place(row))) if row["ranked"] else None
        if known and known["state"] == "ok":
            ratio = view.latency_ratio(known["infer_key"], row["infer_key"])
        row["speedup"] = ratio.value if ratio else None
        row["speedup_low"] = ratio.low if ratio else None
        row["speedup_high"] = ratio.high if ratio else None


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["precision"], row["batch_size"], row["machine"]
