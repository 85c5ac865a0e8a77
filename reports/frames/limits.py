"""Limits of a run's matrix: each with the value that it is held against, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.formatting import visible
from bench.matrix.limits import Limit
from bench.metrics import metric_named
from bench.regression.finding import Comparison
from bench.regression.limits import Measured, judged
from reports.frames.break_even import BREAK_EVENS
from reports.frames.inference import cell_state
from reports.frames.validity import infer_fault, step_fault
from reports.frames.view import RunView, records

if TYPE_CHECKING:
    from bench.results.store import CellRow

_SERVING = ("infer", "evaluate", "lower", "serve", "generate", "requests")
_TRAINING = ("train", "step")
"""Kinds of stages that are asked for a metric that several measure: of a served cell, and of any other."""

_INFERENCE, _OF_TRAINING, _FIDELITY = "inference", "training", "fidelity"
_DERIVED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "quality_loss_points": ((_INFERENCE, "evaluate"),),
    **dict.fromkeys(("speedup", *BREAK_EVENS), ((_INFERENCE, "infer"),)),
    "compressing_s": ((_INFERENCE, "compress"),),
    **dict.fromkeys(("bits_per_weight", "effective_bits_per_weight"), ((_INFERENCE, "lower"),)),
    **dict.fromkeys(
        ("paired_loss_points", "worst_group_points", "groups_flagged"), ((_FIDELITY, "evaluate"),)
    ),
    "time_to_target_by_steps_s": ((_OF_TRAINING, "train"),),
    "flops_to_target": ((_OF_TRAINING, "train"),),
    **dict.fromkeys(
        ("utilization", "achieved_operations_per_s", "operations_per_byte"),
        ((_INFERENCE, "infer"), (_OF_TRAINING, "step")),
    ),
    "hardware_utilization": ((_OF_TRAINING, "step"),),
}
"""Metrics that tables derive: the tables that have them, each with the kind of stage that it is about."""

_OF_COUNTS = ("utilization", "hardware_utilization", "achieved_operations_per_s", "flops_to_target")
"""Derived from a count of operations: the least that they can be where the count is incomplete."""

_CENSORED = {"steps_to_target": "steps_trained", "time_to_target_s": "training_s"}
"""What a training needed → what it spent, which is less where it never reached its target."""

_COLUMNS = ("verdict", "stage", "metric", "limit", "value", "text")


def limits_of(
    view: RunView, frames: Mapping[str, pd.DataFrame], limits: Sequence[Limit] | None = None
) -> Comparison:
    """Hold a run against the limits of its matrix, or against others. `frames` are the run's tables.

    A measurement that cells share is judged once. A smoke run is not judged: its numbers mean nothing.
    """
    if limits is None:
        limits = [Limit.from_json(entry) for entry in view.run["request"].get("limits") or ()]
    if view.smoke and limits:
        comparison = judged(str(view.run["id"]), ())
        comparison.notes.append("a smoke run's numbers mean nothing: its limits are not judged")
        return comparison
    found: dict[tuple[int, Measured], Limit] = {}
    tables = _Tables(frames)
    for cell in view.cells if limits else ():
        for number, limit in enumerate(limits):
            if limit.applies(cell.axes):
                for measured in _measured(view, tables, cell, limit):
                    found.setdefault((number, measured), limit)
    in_order = sorted(found.items(), key=lambda entry: entry[0][0])
    return judged(str(view.run["id"]), ((limit, measured) for (_, measured), limit in in_order))


def limits_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row for each limit of each stage it applies to, worst first; values in the metric's unit."""
    rows = [
        {
            **{"verdict": found.verdict, "stage": visible(found.stage), "metric": visible(found.metric)},
            **{"limit": visible(found.limit), "value": found.after, "text": visible(found.text)},
        }
        for found in comparison.worst_first()
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


class _Tables:
    """Rows of derived values: of inferences by the name of their cell, of trainings by their key."""

    def __init__(self, frames: Mapping[str, pd.DataFrame]) -> None:
        self._by = {_INFERENCE: "cell", _FIDELITY: "cell", _OF_TRAINING: "train_key"}
        self._frames = frames
        self._rows: dict[str, dict[str, Mapping[str, Any]]] = {}

    def row(self, table: str, key: str) -> Mapping[str, Any]:
        if table not in self._rows:
            rows = records(self._frames[table]) if table in self._frames else []
            self._rows[table] = {str(row[self._by[table]]): row for row in rows}
        return self._rows[table].get(visible(key), {})


def _measured(view: RunView, tables: _Tables, cell: CellRow, limit: Limit) -> Iterator[Measured]:
    """Yield what of a cell a limit is held against; several where a metric has qualifiers."""
    nothing = Measured(f"cell {cell.name}", limit.metric)
    if cell.skipped:
        yield replace(nothing, excluded=f"skipped: {cell.skipped}")
        return
    derived = _DERIVED.get(limit.metric)
    if derived:
        own = [(table, kind) for table, kind in derived if limit.stage in ("", kind)]
        yield _derived(view, tables, cell, limit, own) or replace(
            nothing, excluded="not measured of this cell"
        )
        return
    kind = limit.stage or _kind(view, cell, limit.metric)
    key = str(cell.stages.get(kind) or "")
    qualifiers = view.qualifiers(key, limit.metric)
    fault = _fault(view, cell, kind, limit.metric) if qualifiers else ""
    for qualifier in qualifiers:
        yield _of_stage(view, key, limit.metric, qualifier, fault)
    if not qualifiers:
        yield _missing(view, cell, key, nothing)


def _kind(view: RunView, cell: CellRow, metric: str) -> str:
    """Return which kind of a cell's stages is asked for a metric that several measure."""
    kinds = _SERVING if cell.stages.get("lower") else _TRAINING
    return next((kind for kind in kinds if metric in view.measured(kind)), kinds[0])


def _missing(view: RunView, cell: CellRow, key: str, nothing: Measured) -> Measured:
    """Say why a stage did not measure the metric: it failed, is to come, or measures no such thing.

    Of what failed, or is to come, nobody knows whether it keeps a limit.
    """
    status = view.status(key)
    if status.bad and key in view.stages:
        return replace(nothing, reason=f"{view.stages[key].kind} {status.state}: {status.reason}")
    state, reason = cell_state(view, cell)
    if state not in ("ok", "INVALID"):
        return replace(nothing, reason=f"{state}: {reason}" if reason else state)
    return replace(nothing, excluded="not measured of this cell")


def _fault(view: RunView, cell: CellRow, kind: str, metric: str) -> str:
    """Say why a stage's values are not to be trusted, or return an empty text."""
    if kind not in ("train", "step"):
        state, reason = cell_state(view, cell)
        timing = infer_fault(view, str(cell.stages.get("infer") or ""), str(cell.stages.get("lower") or ""))
        if state == "INVALID" and reason != f"timing: {timing}":
            return f"the cell is INVALID: {reason}"
        return timing if kind == "infer" and _is_timing(metric) else ""
    return step_fault(view, str(cell.stages["step"])) if kind == "step" and _is_timing(metric) else ""


def _is_timing(metric: str) -> bool:
    """Say whether a metric rests on the clock of several launches, as memory does not."""
    row = metric_named(metric)
    return row.kind == "sampled" and row.unit != "bytes"


def _of_stage(view: RunView, key: str, metric: str, qualifier: str, fault: str) -> Measured:
    stage, reading = view.stages[key], view.reading(key, metric, qualifier)
    name = metric + (f"[{qualifier}]" if qualifier else "")
    measured = Measured(f"{stage.kind} {stage.label}", name, reading.value, reading.low, reading.high)
    if fault:
        return replace(measured, value=None, low=None, high=None, reason=fault)
    if reading.value is None:
        spent = view.value(key, _CENSORED.get(metric, ""))
        if view.value(key, "target_reached") == 0 and spent is not None:
            return replace(measured, value=spent, low=spent, high=float("inf"))
        return replace(measured, reason=reading.reason or "not measured")
    if reading.reason.startswith("incomplete: "):
        return replace(measured, low=reading.value, high=float("inf"))
    return measured


def _derived(
    view: RunView, tables: _Tables, cell: CellRow, limit: Limit, sources: Sequence[tuple[str, str]]
) -> Measured | None:
    """Return a derived value from the first table that has the cell's stage; None where none has."""
    for table, kind in sources:
        key = str(cell.stages.get(kind) or "")
        if key not in view.stages:
            continue
        row = tables.row(table, str(cell.stages.get("train") or "") if table == _OF_TRAINING else cell.name)
        stage, value = view.stages[key], row.get(limit.metric)
        measured = Measured(f"{stage.kind} {stage.label}", limit.metric, value)
        fault = _fault(view, cell, kind, "latency_s" if kind in ("infer", "step") else limit.metric)
        status = view.status(key)
        if status.bad:
            return replace(measured, value=None, reason=f"{stage.kind} {status.state}: {status.reason}")
        if not row and not fault and table == _FIDELITY:  # it has no uncompressed twin, or is one
            return None
        if value is None or fault:
            return replace(measured, value=None, reason=fault or "what it is derived from is unknown")
        if limit.metric in _OF_COUNTS and row.get("flops_incomplete"):
            return replace(measured, low=value, high=float("inf"))
        low, high = (_bound(row, limit.metric, end) for end in ("low", "high"))
        return replace(measured, low=low, high=high)
    return None


def _bound(row: Mapping[str, Any], metric: str, end: str) -> float | None:
    """Return an end of a derived value's interval: the unit, if there is one, stands last in the column."""
    column = f"{metric.removesuffix('_s')}_{end}_s" if metric.endswith("_s") else f"{metric}_{end}"
    found: float | None = row.get(column)
    return found
