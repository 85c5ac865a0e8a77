"""Inference cost and quality: one row for each cell, whatever its state."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.analysis.statistics import Interval
from reports.frames.break_even import BREAK_EVEN_COLUMNS, set_break_even
from reports.frames.counts import flops_incomplete
from reports.frames.further import further_columns, further_values
from reports.frames.money import SERVING_COLUMNS, serving_columns
from reports.frames.pareto import point_of, ranked_points
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
_MEASURING = ("evaluate", "lower", "infer", "serve")
"""Kinds of stages whose further metrics a cell's row has."""

COLUMNS = (
    *("cell", *TRAIN_AXES.values(), *INFER_AXES.values(), "machine", "state", "reason"),
    *("quality_metric", "quality", "quality_loss_points", "quality_reference", *_EVALUATE_METRICS, "valid"),
    *("latency_s", "latency_low_s", "latency_high_s", "latency_launches"),
    *("latency_disturbed", "latency_preliminary"),
    *("latency_converged", "latency_between_variation"),
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


def inference_table(view: RunView) -> pd.DataFrame:
    """Return one row for each cell, in the order of the matrix, skipped and failed ones included.

    `ranked` are cells that are measured and not INVALID. `pareto` and `pareto_size` mark those of them that
    no other of the same workload and batch size beats in both quality and latency, or compressed size: none
    in a smoke run.
    """
    further = further_columns(view, _MEASURING, COLUMNS)
    metrics = {training.key: training.quality_metric for training in view.trainings()}
    rows = [
        _row(view, cell)
        | {"quality_metric": metrics.get(str(cell.stages.get("train") or ""), "")}
        | further_values(view, [str(cell.stages.get(kind) or "") for kind in _MEASURING], further)
        for cell in view.cells
        if cell.skipped or "lower" in cell.stages
    ]
    _set_quality_loss(view, rows)
    _set_speedup(view, rows)
    set_break_even(view, rows)
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *further])
    for flag, cost in (("pareto", "latency_s"), ("pareto_size", "artifact_compressed_bytes")):
        points = [] if view.smoke else ranked_points(frame, cost)
        front = {point_of(point) for point in points if point["pareto"]}
        frame[flag] = [bool(row["ranked"]) and point_of(row) in front for row in rows]
    return frame


def _row(view: RunView, cell: CellRow) -> dict[str, Any]:
    keys = {kind: str(cell.stages.get(kind) or "") for kind in CELL_STAGES}
    evaluate, infer = keys["evaluate"], keys["infer"]
    latency, status = view.reading(infer, "latency_s"), view.status(infer)
    valid = view.value(evaluate, "valid")
    state, reason = cell_state(view, cell)
    return {
        "cell": cell.name,
        **{column: cell.axes.get(axis) for axis, column in (TRAIN_AXES | INFER_AXES).items()},
        "machine": view.machine(infer, evaluate, keys["train"]),
        "state": state,
        "reason": reason,
        "quality": _quality(view, cell),
        **{metric: view.value(evaluate, metric) for metric in _EVALUATE_METRICS},
        "valid": None if valid is None else bool(valid),
        "latency_s": latency.value,
        "latency_low_s": latency.low,
        "latency_high_s": latency.high,
        "latency_launches": latency.launches,
        "latency_disturbed": status.disturbed,
        "latency_preliminary": is_preliminary(view, latency) or 0 < status.good == status.disturbed,
        "latency_converged": converged(view, latency),
        "latency_between_variation": _between(view.launch_values(infer, "latency_s")),
        **{column: view.value(infer, metric) for metric, column in _INFER_METRICS.items()},
        **{metric: view.value(keys["lower"], metric) for metric in _LOWER_METRICS},
        "bits_per_weight": _bits_per_weight(view, keys["lower"], "artifact_bytes"),
        "effective_bits_per_weight": _bits_per_weight(view, keys["lower"], "artifact_compressed_bytes"),
        **{metric: view.value(str(cell.stages.get("serve") or ""), metric) for metric in _SERVE_METRICS},
        **roofline_columns(infer_point(view, infer, keys["lower"])),
        "flops_incomplete": flops_incomplete(view, keys["lower"]),
        **serving_columns(
            view, latency.value, int(cell.axes.get("batch_size") or 1), view.value(infer, "energy_j")
        ),
        "ranked": state == "ok" and latency.value is not None and _quality(view, cell) is not None,
        **{f"{kind}_key": key for kind, key in keys.items()},
    }


def _bits_per_weight(view: RunView, lower: str, size: str) -> float | None:
    found, weights = view.value(lower, size), view.value(lower, "parameters")
    return 8 * found / weights if found is not None and weights else None


def _between(medians: list[float]) -> float | None:
    return statistics.stdev(medians) / statistics.fmean(medians) if len(medians) > 1 else None


def _quality(view: RunView, cell: CellRow) -> float | None:
    return view.value(str(cell.stages.get("evaluate") or ""), "quality")


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
    for key in keys:
        status = view.status(key)
        if status.bad:
            return status.state, f"{view.stages[key].kind}: {status.reason}" if key in view.stages else ""
    if not keys or any(not view.status(key).ok for key in keys):
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
    for row in rows:
        candidates = [c for c in references.get(training_of(row), []) if c["quality"] is not None]
        best = min(candidates, key=lambda c: _distance(c, row), default=None)
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
    references = _references(rows)
    known: dict[tuple[str, str], Interval | None] = {}
    for row in rows:
        same = [
            reference
            for reference in references.get(training_of(row), [])
            if all(reference[column] == row[column] for column in ("precision", "batch_size", "machine"))
        ]
        ratio = None
        if same and row["ranked"] and same[0]["state"] == "ok":
            pair = (same[0]["infer_key"], row["infer_key"])
            if pair not in known:
                known[pair] = view.latency_ratio(*pair)
            ratio = known[pair]
        row["speedup"] = ratio.value if ratio else None
        row["speedup_low"] = ratio.low if ratio else None
        row["speedup_high"] = ratio.high if ratio else None
