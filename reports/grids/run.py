"""Tables for people: a run's frames with formatted numbers, their intervals and the keys of the records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.metrics import METRICS
from reports.frames import inference, training
from reports.frames.further import further_of
from reports.frames.memory import MEMORY_METRICS
from reports.frames.view import RunView, records
from reports.grids.cell import (
    UNKNOWN,
    Column,
    Entry,
    Row,
    binds,
    estimated,
    front,
    gap,
    keys,
    metric,
    mfu,
    money,
    of_count,
    other_metrics,
    plain,
    points,
    quality_metric,
    reached,
    signed_share,
    speedup,
    state,
    timing,
    without_training,
    yes,
)
from reports.grids.devices import DEVICES, PARALLEL
from reports.grids.grid import Grid, build_grid, without_empty

REGIME: tuple[Column, ...] = (
    ("schedule", plain("schedule")),
    ("clipping", plain("clip")),
    ("average", plain("average")),
    ("tuning", plain("tuning")),
    *PARALLEL,
)
TRAINED: tuple[Column, ...] = (
    *REGIME,
    ("train backend", plain("train_backend")),
    ("train precision", plain("train_precision")),
    ("train batch", plain("train_batch_size")),
)
"""How a model was trained, in tables of what became of it."""

TRAINING: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("optimizer", plain("optimizer")),
    *REGIME,
    ("backend", plain("train_backend")),
    ("precision", plain("train_precision")),
    ("batch", plain("train_batch_size")),
    ("seed", plain("seed")),
    ("machine", plain("machine")),
    ("state", state),
    ("quality metric", quality_metric),
    ("target", metric("target", "quality")),
    ("tuned to", plain("tuned_settings")),
    ("steps to target", reached),
    ("on the grid", metric("steps_to_target_on_grid")),
    ("first crossing", metric("steps_to_first_crossing")),
    ("time to target: steps × step time", metric("time_to_target_by_steps_s", "time_to_target_s")),
    ("time to target: clocked", metric("time_to_target_s")),
    ("gap", gap),
    ("step time", timing("step_latency", "step_latency_s")),
    ("throughput", metric("train_throughput_samples_per_s", "train_throughput")),
    *DEVICES,
    ("FLOP/s", of_count("achieved_operations_per_s")),
    ("% of peak (MFU)", mfu),
    ("% of peak with recomputation (HFU)", of_count("hardware_utilization")),
    ("operations per byte (estimate)", of_count("operations_per_byte")),
    ("bound by", binds),
    ("final quality", metric("quality")),
    ("in validation", metric("validation_quality")),
    ("validation − test (pts)", points("validation_gap_points")),
    ("no-training baseline", without_training),
    ("FLOPs to target", of_count("flops_to_target")),
    ("energy to target", metric("energy_j")),
    ("energy to target, estimated", estimated("energy_estimate_to_target_j")),
    ("cost to target", money("money_to_target")),
    ("trials", metric("tuning_trials")),
    ("steps of trials", metric("tuning_steps", "steps_trained")),
    ("time of trials", metric("tuning_s", "training_s")),
    ("evaluation in trials", metric("tuning_evaluation_s", "evaluation_s")),
    ("energy of trials", metric("tuning_energy_j", "energy_j")),
    ("energy of trials, estimated", metric("tuning_energy_estimate_j", "energy_j")),
    ("time to target with trials", metric("time_to_target_with_tuning_s", "time_to_target_s")),
    ("forward FLOPs", of_count("forward_flops")),
    ("backward FLOPs", of_count("backward_flops")),
    ("recomputed FLOPs", of_count("recomputed_flops")),
    ("optimizer FLOPs", of_count("optimizer_flops")),
    ("steps with clipped gradients", metric("clip_binding_share")),
    ("optimizer state", metric("optimizer_state_bytes")),
    ("optimizer state by theory", metric("optimizer_state_theory_bytes")),
    ("peak tensor memory", metric("peak_tensor_bytes")),
    ("resident growth", metric("rss_growth_bytes")),
    ("notes", plain("notes")),
    ("record", keys("train_key", "step_key")),
)
INFERENCE: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("cell", plain("cell")),
    ("optimizer", plain("optimizer")),
    ("compression", plain("compression")),
    ("backend", plain("backend")),
    *TRAINED,
    ("seed", plain("seed")),
    ("precision", plain("precision")),
    ("batch", plain("batch_size")),
    ("machine", plain("machine")),
    ("state", state),
    ("Pareto", front),
    ("quality metric", quality_metric),
    ("quality", metric("quality")),
    ("quality loss (pts)", points("quality_loss_points")),
    ("latency", timing("latency", "latency_s")),
    ("speedup vs none on cpu-eager", speedup),
    ("interval within target", yes("latency_converged")),
    ("variation within launches", metric("latency_within_variation", "quality")),
    ("between launches", metric("latency_between_variation", "quality")),
    ("fastest", metric("latency_fastest_s", "latency_s")),
    ("effective samples", metric("latency_effective_samples", "effective_samples")),
    ("p90", metric("latency_p90_s")),
    ("p99", metric("latency_p99_s")),
    ("throughput", metric("throughput_samples_per_s", "throughput")),
    ("server: batches/s within bound", metric("server_rate_per_s")),
    ("server: p99", metric("server_p99_s")),
    ("operations/s", of_count("achieved_operations_per_s")),
    ("% of peak (MFU)", of_count("utilization")),
    ("operations per byte (estimate)", of_count("operations_per_byte")),
    ("bound by", binds),
    ("page faults per call", metric("page_faults_per_call", "page_faults")),
    ("lowering", metric("lowering_s")),
    ("load", metric("load_s")),
    ("first call", metric("first_call_s")),
    ("time on the device", metric("device_s")),
    ("time in the runtime", metric("runtime_s")),
    ("size on disk", metric("artifact_bytes")),
    ("compressed", metric("artifact_compressed_bytes")),
    ("peak tensor memory", metric("peak_tensor_bytes")),
    ("resident growth", metric("rss_growth_bytes")),
    ("GPU allocated", metric("gpu_allocated_peak_bytes")),
    ("energy", metric("energy_j")),
    ("energy, estimated", estimated("energy_estimate_j")),
    ("cost per million samples", money("money_per_million")),
    ("FLOPs dense", of_count("dense_flops")),
    ("FLOPs effective", of_count("effective_flops")),
    ("parameters", metric("parameters")),
    ("non-zero", metric("nonzero_parameters")),
    ("bits per weight", metric("bits_per_weight")),
    ("effective bits per weight", metric("effective_bits_per_weight")),
    ("agreement with uncompressed", metric("reference_agreement")),
    ("agreement with its model", metric("top1_agreement")),
    ("record", keys("lower_key", "evaluate_key", "infer_key")),
)
MEMORY: tuple[Column, ...] = (
    ("stage", plain("kind")),
    ("workload", plain("workload")),
    ("optimizer", plain("optimizer")),
    ("compressions", plain("compressions")),
    ("backend", plain("backend")),
    ("precision", plain("precision")),
    ("batch", plain("batch_size")),
    ("state", state),
    *((METRICS[name].label, metric(name)) for name in MEMORY_METRICS),
    ("cells", plain("cells")),
    ("record", keys("stage_key")),
)
OVERHEAD: tuple[Column, ...] = (
    ("part", plain("part")),
    ("wall time", metric("seconds", "training_s")),
    ("share", metric("share", "quality")),
)
ESTIMATE: tuple[Column, ...] = (
    ("part", plain("part")),
    ("stages", metric("stages", "parameters")),
    ("predicted", metric("predicted_s", "training_s")),
    ("actual", metric("taken_s", "training_s")),
    ("error", signed_share("error")),
    ("median stage error", metric("median_stage_error", "quality")),
    ("predicted disk", metric("predicted_bytes", "artifact_bytes")),
    ("actual disk", metric("taken_bytes", "artifact_bytes")),
    ("disk error", signed_share("bytes_error")),
)


def training_columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Return the columns of the table of trainings, what plug-ins measured included."""
    qualities = {name: name for name in training.QUALITIES}
    others = other_metrics(qualities | further_of(frame.columns, training.COLUMNS))
    return (*TRAINING[:-1], ("other metrics", others), TRAINING[-1])


def inference_columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Return the columns of the table of cells, what plug-ins measured included."""
    qualities = {name: name for name in training.QUALITIES if name in inference.COLUMNS}
    others = other_metrics(qualities | further_of(frame.columns, inference.COLUMNS))
    return (*INFERENCE[:-1], ("other metrics", others), INFERENCE[-1])


COMPRESSION: tuple[Column, ...] = (
    *((name, plain(name)) for name in ("workload", "optimizer")),
    *TRAINED,
    *((name, plain(name)) for name in ("seed", "recipe", "step")),
    ("state", state),
    ("quality before", metric("quality_before", "quality")),
    ("right after the step", metric("quality_applied", "quality")),
    ("after recovery", metric("quality_after", "quality")),
    ("recovered (pts)", points("recovered_points")),
    ("recovery budget (steps)", metric("budget_steps", "steps_trained")),
    ("steps trained", metric("steps_trained")),
    ("control", plain("control")),
    ("quality of control", metric("quality_control", "quality")),
    ("gain vs control (pts)", points("vs_control_points")),
    ("parameters", metric("parameters")),
    ("non-zero", metric("nonzero_parameters")),
    ("record", keys("compress_key")),
)


def all_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the tables of a report, all but the problems, in the order it shows them."""
    training, inference = frames["training"], frames["inference"]
    specifications = (
        ("training", "Training to the target", training_columns(training)),
        ("compression", "Quality at each compression step", COMPRESSION),
        ("inference", "Inference", inference_columns(inference)),
        ("memory", "Peak memory", MEMORY),
        ("overhead", "Overhead: wall time outside stages", OVERHEAD),
        ("estimate", "Predicted and actual cost", ESTIMATE),
    )
    return [build_grid(name, title, columns, frames[name]) for name, title, columns in specifications]


def problem_grids(frame: pd.DataFrame) -> list[Grid]:
    """Return what failed, could not be read or was left out, one row for each state and reason."""
    stages, cells = frame[frame["kind"] != "cell"], frame[frame["kind"] == "cell"]
    unreadable = stages["state"] == "unreadable"
    grids = (
        _problem_grid("failed", "Stages without a result", stages[~unreadable]),
        _problem_grid("unreadable", "Records that are partly unreadable", stages[unreadable]),
        _problem_grid("skipped", "Skipped and INVALID cells", cells),
    )
    return [grid for grid in grids if grid.rows]


def _problem_grid(name: str, title: str, frame: pd.DataFrame) -> Grid:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in records(frame):
        groups.setdefault((row["kind"], row["state"], row["reason"]), []).append(row)
    lines = [
        (
            Entry(kind),
            Entry(state, mark="bad" if name == "failed" else ""),
            Entry(reason or UNKNOWN),
            Entry(next((row["last_line"] for row in rows if row["last_line"]), "") or UNKNOWN, mark="key"),
            Entry(str(len(rows)), sort=len(rows)),
            Entry("", "\n".join(_named(row) for row in rows), mark="list"),
        )
        for (kind, state, reason), rows in groups.items()
    ]
    columns = ("stage", "state", "reason", "last line of output", "count", "names")
    return without_empty(Grid(name, title, columns, tuple(lines)), constant=("stage",))


def _named(row: Row) -> str:
    return str(row["what"]) + (f" ({row['stage_key'][:12]})" if row["stage_key"] else "")


def environment_grid(view: RunView) -> Grid:
    """Return the environments of a run's launches, flattened; values that differ are joined by `|`."""
    flat = [dict(_flatten(environment)) for environment in view.environments.values()]
    names = dict.fromkeys(key for entries in flat for key in entries)
    rows = []
    for name in names:
        values = list(dict.fromkeys(entries.get(name, UNKNOWN) for entries in flat))
        several = len(values) > 1
        detail = "differs between launches" if several else ""
        rows.append((Entry(name), Entry(" | ".join(_first(values)), detail, mark="bad" if several else "")))
    return Grid("environment", "Environment", ("what", "value"), tuple(rows))


def _first(values: list[str], most: int = 4) -> list[str]:
    return values if len(values) <= most else [*values[:most], f"and {len(values) - most} more"]


def _flatten(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += _flatten(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.append((f"{prefix}{key}", text))
    return found
