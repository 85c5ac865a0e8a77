"""The page of the matrix `frameworks`: one model trained alike in several frameworks."""

from __future__ import annotations

import statistics
from typing import Any

from bench.formatting import counted, format_interval, format_value
from docs.reference.markdown import code, prose, table
from docs.results.measured import Measured, Row, assemble, groups, model_of, not_measured
from reports.frames.inference import REFERENCE_BACKEND
from reports.frames.view import records
from reports.grids.cell import UNKNOWN

CSV = "frameworks.csv"

_HEADER = (
    *("framework", "reached", "steps to target", "time to target", "test quality"),
    *("a step", "against PyTorch", "until the first step"),
)


def page(measured: Measured) -> str:
    """Return the page."""
    trained, timed = records(measured.frames["training"]), records(measured.frames["steps"])
    return assemble(
        "Other frameworks train the same model",
        measured,
        "Each framework starts from the same weights and takes the same batches, with the same settings of "
        "its own optimizer, in a process of its own. Medians over seeds; times are steps × the step time, "
        "which was timed apart, with its 95 % interval over launches. *Until the first step* has all that is "
        f"compiled for it. [{CSV}](../examples/{CSV}) has all columns. "
        "[Other frameworks](../guides/frameworks.md) says what is compared.",
        *(
            _of_optimizer(workload, optimizer, of_both, timed)
            for workload, own in groups(trained, "workload")
            for optimizer, of_both in groups(own, "optimizer")
        ),
        not_measured(
            (
                f"{code(row['train_backend'])} by {code(row['optimizer'])}",
                prose(str(row["reason"] or row["state"])),
            )
            for row in trained
            if row["state"] != "ok"
        ),
    )


def _of_optimizer(workload: str, optimizer: str, rows: list[dict[str, Any]], timed: list[Any]) -> str:
    steps = {
        row["train_backend"]: row
        for row in timed
        if (row["workload"], row["optimizer"]) == (workload, optimizer)
    }
    lines = [
        _line(str(backend), own, steps.get(backend, {}), steps.get(REFERENCE_BACKEND, {}))
        for backend, own in groups([row for row in rows if row["state"] == "ok"], "train_backend")
    ]
    return "\n\n".join([f"## {model_of(workload)} by {code(optimizer)}", table(_HEADER, lines)])


def _line(backend: str, seeds: list[dict[str, Any]], step: Row, reference: Row) -> list[str]:
    return [
        code(backend),
        f"{sum(bool(row['target_reached']) for row in seeds)}/{counted(len(seeds), 'seed')}",
        format_value("steps_to_target", _median(seeds, "steps_to_target")),
        format_value("time_to_target_s", _median(seeds, "time_to_target_by_steps_s")),
        format_value("quality", _median(seeds, "quality")),
        _step(step),
        _against(step, reference),
        format_value("first_call_s", step.get("first_call_s")),
    ]


def _median(rows: list[dict[str, Any]], column: str) -> float | None:
    """Return the median over seeds; None where one is unknown, as of a target that was not reached."""
    values = [row[column] for row in rows]
    return None if None in values else float(statistics.median(values))


def _step(step: Row) -> str:
    ends = (step.get("step_latency_low_s"), step.get("step_latency_high_s"))
    return format_interval("step_latency_s", step.get("step_latency_s"), *ends)


def _against(step: Row, reference: Row) -> str:
    own, other = step.get("step_latency_s"), reference.get("step_latency_s")
    return f"{own / other:.2f}×" if own and other else UNKNOWN
