"""The page of the Python interface."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from bench import api
from bench.metrics import METRICS
from bench.results.loading import load
from docs.reference.markdown import assemble, block, code, docstring, prose, table

INTRODUCTION = """`bench.measure` measures a live module, and `bench.load` reads the records of runs.
Everything else goes through the command line and a matrix. [Your own model](../guides/model.md) and
[A store for a team](../guides/teams.md) have complete examples."""

AXES = {
    "workload": "the workload",
    "optimizer": "the optimizer that trained the model; `none` for one that is served as it is",
    "schedule": "the schedule of the optimizer's rate",
    "clip": "how gradients were clipped",
    "average": "the average of weights that was evaluated and saved",
    "train_backend": "the backend that trained it",
    "train_precision": "the precision of the training",
    "train_batch_size": "the batch size of the training",
    "seed": "the seed of the training",
    "compression": "the recipe",
    "backend": "the backend that serves it",
    "precision": "the precision in which it is served",
    "batch_size": "the batch size at which it is served",
}

COLUMNS = AXES | {
    "cell": "the cell's name",
    "quality_metric": "the metric that `quality` is",
    "roofline_binds": "what limits the speed: arithmetic, memory or a cache; an estimate",
    "roofline_share": "share of that limit",
    "flops_incomplete": "operators that the FLOP count lacks; with any, the count is a lower bound",
    "energy_estimate_j": "energy of a call, estimated from the matrix's `[estimate]`",
    "energy_estimate_method": "how it was estimated",
    "money_per_million": "price of a million inferences, from the matrix's `[prices]`",
    "money_method": "whose prices, and of what",
    "page_faults_per_call": "how often the kernel gives memory to a call",
    "state": "`ok`, `skipped`, `INVALID`, `failed`, ...",
    "reason": "why, where the state is not `ok`",
    "quality_loss_points": "percentage points of quality lost to the uncompressed model on eager PyTorch",
    "quality_reference": "what the loss is against",
    "latency_low_s": "lower end of the 95 % interval",
    "latency_high_s": "upper end of the 95 % interval",
    "latency_launches": "launches that the latency rests on",
    "latency_disturbed": "launches that were disturbed and excluded",
    "latency_preliminary": "whether the interval rests on fewer than 6 launches, or is wide as time ran out",
    "latency_converged": "whether the interval is as narrow as the budget asks",
    "latency_between_variation": "standard deviation between launches, over their mean",
    "speedup": "how many times as fast as eager PyTorch without compression, same precision and batch size",
    "speedup_low": "lower end of its interval",
    "speedup_high": "upper end of its interval",
    "ranked": "whether the cell is measured and valid",
    "pareto": "whether no other cell has both better quality and lower latency",
    "pareto_size": "the same for quality and compressed size",
}
"""What columns mean that are no metric's."""


def page() -> str:
    """Return the page."""
    return assemble(
        "Python",
        INTRODUCTION,
        "## bench.measure",
        block(_signature(api.measure)),
        docstring(api.measure),
        "### What it returns",
        "A pandas frame with one row for each cell. Units are in the names of the columns; unknown is empty. "
        "The same table is `tables/inference.csv` in the run's folder.",
        table(("column", ""), map(_row, columns())),
        "## bench.load",
        block(_signature(load)),
        docstring(load),
    )


def _row(column: str) -> tuple[str, str]:
    return code(column), explained(column)


def _signature(function: Callable[..., Any]) -> str:
    lines, keyword_only = [], False
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"{parameter.name}: {parameter.annotation}{default}")
    inside = "".join(f"    {line},\n" for line in lines)
    return f"bench.{function.__name__}(\n{inside}) -> {signature.return_annotation}"


def columns() -> list[str]:
    """Return the columns of the table of cells, from a run without any."""
    from reports.frames import inference_table

    nothing = SimpleNamespace(cells=(), smoke=True, trainings=lambda: (), measured=lambda kind: ())
    return [str(column) for column in inference_table(nothing).columns]  # type: ignore[arg-type]


def explained(column: str) -> str:
    """Say what a column is, from what is written above or from its metric's row."""
    if column in COLUMNS:
        return COLUMNS[column]
    if column.endswith("_key"):
        return f"key of the cell's `{column.removesuffix('_key')}` stage; `bench show KEY` has the record"
    for name in (column, column.removeprefix("latency_"), column.removesuffix("_samples_per_s")):
        if name in METRICS:
            return prose(METRICS[name].about)
    return ""
