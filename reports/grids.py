"""Tables for people: a run's frames with numbers formatted, intervals beside them and records named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from bench.metrics import METRICS, counted, format_points, format_value
from reports.tables.memory import MEMORY_METRICS
from reports.view import RunView, records

UNKNOWN = "–"
PRELIMINARY = "†"
LEGEND = (
    "† preliminary: fewer than 6 launches, or all disturbed. Launches that were disturbed are made again and "
    "set aside. ◆ on the Pareto front of quality against latency, ◇ against "
    "compressed size. – unknown. Intervals are 95 %. The command bench show KEY prints the record of a key."
)

_AFTER_ALL = 1e300  # what a censored value sorts by

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One field of a table: `text`, a second line under it, what it sorts by, and how it is marked."""

    text: str
    detail: str = ""
    sort: float | None = None
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table for people; `shared` names the columns left out because all rows agree, with their value."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    shared: tuple[tuple[str, str], ...] = ()


Column = tuple[str, Callable[[Row], Entry]]


def plain(key: str) -> Callable[[Row], Entry]:
    """Show a value as it is."""

    def make(row: Row) -> Entry:
        value = row[key]
        known = value is not None and value != ""
        return Entry(str(value) if known else UNKNOWN, sort=value if isinstance(value, int | float) else None)

    return make


def metric(key: str, name: str = "") -> Callable[[Row], Entry]:
    """Show a value formatted as its metric."""
    return lambda row: Entry(format_value(name or key, row[key]), sort=row[key])


def points(key: str) -> Callable[[Row], Entry]:
    """Show a difference in percentage points."""
    return lambda row: Entry(format_points(row[key]), sort=row[key])


def signed_share(key: str) -> Callable[[Row], Entry]:
    """Show a relative difference in percent."""
    return lambda row: Entry(UNKNOWN if row[key] is None else f"{100 * row[key]:+.1f} %", sort=row[key])


def timing(key: str, name: str) -> Callable[[Row], Entry]:
    """Show a time with its interval, launches and preliminary mark; `key` lacks the unit."""

    def make(row: Row) -> Entry:
        value, low, high = row[f"{key}_s"], row[f"{key}_low_s"], row[f"{key}_high_s"]
        if value is None:
            return Entry(UNKNOWN)
        mark = PRELIMINARY if row[f"{key}_preliminary"] else ""
        launches = counted(int(row[f"{key}_launches"]), "launch")
        if row.get(f"{key}_disturbed"):
            launches += f", {int(row[f'{key}_disturbed'])} disturbed"
        interval = (
            f"{format_value(name, low)} … {format_value(name, high)}" if low is not None else "no interval"
        )
        return Entry(format_value(name, value) + mark, f"{interval}, {launches}", value)

    return make


def estimated(key: str) -> Callable[[Row], Entry]:
    """Show an estimated energy with how it was estimated."""
    return lambda row: Entry(
        format_value("energy_j", row[key]), row["energy_estimate_method"] or "", row[key]
    )


def money(key: str) -> Callable[[Row], Entry]:
    """Show a cost with the price table's name and what it is made of."""
    return lambda row: Entry(
        UNKNOWN if row[key] is None else f"{row[key]:.4g}", row["money_method"] or "", row[key]
    )


def keys(*names: str) -> Callable[[Row], Entry]:
    """Show the first 12 characters of stage keys, each with its stage."""

    def make(row: Row) -> Entry:
        lines = [f"{name.removesuffix('_key')} {row[name][:12]}" for name in names if row[name]]
        return Entry("", "\n".join(lines), mark="key")

    return make


def _state(row: Row) -> Entry:
    state = str(row["state"])
    return Entry(state, str(row.get("reason") or ""), mark="" if state in ("ok", "pending") else "bad")


def _reached(row: Row) -> Entry:
    if row["censored"]:
        text = f"> {format_value('steps_to_target', row['steps_trained'])}"
        return Entry(text, "censored", _AFTER_ALL, "bad")
    return metric("steps_to_target")(row)


def _gap(row: Row) -> Entry:
    if row["time_gap"] is None:
        return Entry(UNKNOWN)
    mark = "bad" if row["time_gap_flagged"] else ""
    return Entry(f"{100 * row['time_gap']:+.1f} %", "over 5 %" if mark else "", row["time_gap"], mark)


def speedup(row: Row) -> Entry:
    """Show how many times as fast something is, with its interval."""
    value, low, high = row["speedup"], row["speedup_low"], row["speedup_high"]
    if value is None:
        return Entry(UNKNOWN)
    mark = PRELIMINARY if row["latency_preliminary"] and low != high else ""
    interval = f"{low:.3g}× … {high:.3g}×" if low is not None and low != high else ""
    return Entry(f"{value:.3g}×{mark}", interval, value)


def _yes(key: str) -> Callable[[Row], Entry]:
    return lambda row: Entry(UNKNOWN if row[key] is None else "yes" if row[key] else "no")


def _front(row: Row) -> Entry:
    text = ("◆" if row["pareto"] else "") + ("◇" if row["pareto_size"] else "")
    return Entry(text, sort=-len(text), mark="front" if text else "")


TRAINING: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("optimizer", plain("optimizer")),
    ("backend", plain("train_backend")),
    ("precision", plain("train_precision")),
    ("batch", plain("train_batch_size")),
    ("seed", plain("seed")),
    ("state", _state),
    ("target", metric("target", "quality")),
    ("steps to target", _reached),
    ("first crossing", metric("steps_to_first_crossing")),
    ("time to target: steps × step time", metric("time_to_target_by_steps_s", "time_to_target_s")),
    ("time to target: clocked", metric("time_to_target_s")),
    ("gap", _gap),
    ("step time", timing("step_latency", "step_latency_s")),
    ("throughput", metric("train_throughput_samples_per_s", "train_throughput")),
    ("FLOP/s", metric("achieved_operations_per_s")),
    ("of this machine's peak", metric("utilization")),
    ("operations a byte (estimate)", metric("operations_per_byte")),
    ("bound by", plain("roofline_binds")),
    ("final quality", metric("quality")),
    ("FLOPs to target", metric("flops_to_target")),
    ("energy to target", metric("energy_j")),
    ("energy to target, estimated", estimated("energy_estimate_to_target_j")),
    ("money to target", money("money_to_target")),
    ("forward FLOPs", metric("forward_flops")),
    ("backward FLOPs", metric("backward_flops")),
    ("optimizer FLOPs", metric("optimizer_flops")),
    ("optimizer state", metric("optimizer_state_bytes")),
    ("peak tensor memory", metric("peak_tensor_bytes")),
    ("resident growth", metric("rss_growth_bytes")),
    ("notes", plain("notes")),
    ("record", keys("train_key", "step_key")),
)
INFERENCE: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("cell", plain("cell")),
    ("train backend", plain("train_backend")),
    ("train precision", plain("train_precision")),
    ("train batch", plain("train_batch_size")),
    ("seed", plain("seed")),
    ("precision", plain("precision")),
    ("batch", plain("batch_size")),
    ("state", _state),
    ("Pareto", _front),
    ("quality", metric("quality")),
    ("loss, points", points("quality_loss_points")),
    ("latency", timing("latency", "latency_s")),
    ("speed, × none on cpu-eager", speedup),
    ("interval as narrow as asked", _yes("latency_converged")),
    ("variation within launches", metric("latency_within_variation", "quality")),
    ("between launches", metric("latency_between_variation", "quality")),
    ("fastest", metric("latency_fastest_s", "latency_s")),
    ("effective samples", metric("latency_effective_samples", "effective_samples")),
    ("p90", metric("latency_p90_s")),
    ("p99", metric("latency_p99_s")),
    ("throughput", metric("throughput_samples_per_s", "throughput")),
    ("server: batches/s within its bound", metric("server_rate_per_s")),
    ("server: p99", metric("server_p99_s")),
    ("operations/s", metric("achieved_operations_per_s")),
    ("of this machine's peak", metric("utilization")),
    ("operations a byte (estimate)", metric("operations_per_byte")),
    ("bound by", plain("roofline_binds")),
    ("page faults a call", metric("page_faults_per_call", "page_faults")),
    ("lowering", metric("lowering_s")),
    ("load", metric("load_s")),
    ("first call", metric("first_call_s")),
    ("size on disk", metric("artifact_bytes")),
    ("compressed", metric("artifact_compressed_bytes")),
    ("peak tensor memory", metric("peak_tensor_bytes")),
    ("resident growth", metric("rss_growth_bytes")),
    ("GPU allocated", metric("gpu_allocated_peak_bytes")),
    ("energy", metric("energy_j")),
    ("energy, estimated", estimated("energy_estimate_j")),
    ("money for a million", money("money_per_million")),
    ("FLOPs dense", metric("dense_flops")),
    ("FLOPs effective", metric("effective_flops")),
    ("parameters", metric("parameters")),
    ("non-zero", metric("nonzero_parameters")),
    ("agrees with uncompressed", metric("reference_agreement")),
    ("agrees with its model", metric("top1_agreement")),
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
    ("state", _state),
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
    ("taken", metric("taken_s", "training_s")),
    ("error", signed_share("error")),
    ("median error of a stage", metric("median_stage_error", "quality")),
    ("disk predicted", metric("predicted_bytes", "artifact_bytes")),
    ("disk taken", metric("taken_bytes", "artifact_bytes")),
    ("disk error", signed_share("bytes_error")),
)


def _compression_columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    known = ("quality_trained", "quality_after", "quality_control")
    moments = [name for name in map(str, frame.columns) if name.startswith("quality_") and name not in known]
    return (
        *((name, plain(name)) for name in ("workload", "optimizer")),
        ("train backend", plain("train_backend")),
        ("train precision", plain("train_precision")),
        ("train batch", plain("train_batch_size")),
        *((name, plain(name)) for name in ("seed", "recipe", "step")),
        ("state", _state),
        *((f"quality {name.removeprefix('quality_')}", metric(name, "quality")) for name in moments),
        ("quality after", metric("quality_after", "quality")),
        ("finetune control", metric("quality_control", "quality")),
        ("against control, points", points("vs_control_points")),
        ("parameters", metric("parameters")),
        ("non-zero", metric("nonzero_parameters")),
        ("record", keys("compress_key")),
    )


def all_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the tables of a report, all but the problems, in the order it shows them."""
    specifications = (
        ("training", "Training to the target", TRAINING),
        ("compression", "Quality through each compression", _compression_columns(frames["compression"])),
        ("inference", "Inference", INFERENCE),
        ("memory", "Peak memory", MEMORY),
        ("overhead", "Wall time outside stage bodies", OVERHEAD),
        ("estimate", "Predicted against taken", ESTIMATE),
    )
    return [build_grid(name, title, columns, frames[name]) for name, title, columns in specifications]


def problem_grids(frame: pd.DataFrame) -> list[Grid]:
    """Return what failed and what was left out, one row for each state and reason."""
    stages, cells = frame[frame["kind"] != "cell"], frame[frame["kind"] == "cell"]
    grids = (
        _problem_grid("failed", "Stages without a result", stages),
        _problem_grid("skipped", "Cells left out or INVALID", cells),
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
    columns = ("stage", "state", "reason", "last line of output", "times", "which")
    return _drop(Grid(name, title, columns, tuple(lines)), constant=("stage",))


def _named(row: Row) -> str:
    return str(row["what"]) + (f" ({row['stage_key'][:12]})" if row["stage_key"] else "")


def environment_grid(view: RunView) -> Grid:
    """Return the environments of a run's launches, flattened; values that differ stand side by side."""
    flat = [dict(_flatten(environment)) for environment in view.environments.values()]
    names = dict.fromkeys(key for entries in flat for key in entries)
    rows = []
    for name in names:
        values = list(dict.fromkeys(entries.get(name, UNKNOWN) for entries in flat))
        several = len(values) > 1
        detail = "not the same for all launches" if several else ""
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


def build_grid(name: str, title: str, columns: Sequence[Column], frame: pd.DataFrame) -> Grid:
    """Return a frame as a table for people, without the columns that say nothing."""
    rows = tuple(tuple(make(row) for _, make in columns) for row in records(frame))
    settings = ("workload", "backend", "precision", "batch", "seed", "target", "state")
    grid = Grid(name, title, tuple(heading for heading, _ in columns), rows)
    return _drop(grid, constant=(*settings, "train backend", "train precision", "train batch"))


def _drop(grid: Grid, constant: Sequence[str]) -> Grid:
    """Leave out columns that say nothing: empty in all rows, or a setting that all rows share."""
    kept, shared = [], []
    for index, heading in enumerate(grid.columns):
        entries = [row[index] for row in grid.rows]
        texts = {(entry.text, entry.detail) for entry in entries}
        if len(entries) > 1 and len(texts) == 1 and heading in constant and entries[0].text != UNKNOWN:
            shared.append((heading, entries[0].text))
        elif entries and not all(entry.text in (UNKNOWN, "") and not entry.detail for entry in entries):
            kept.append(index)
    return replace(
        grid,
        columns=tuple(grid.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in grid.rows),
        shared=tuple(shared),
    )
