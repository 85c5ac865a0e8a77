"""The page of what a plug-in implements: rows, protocols, entry points."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from bench.execution.engines import ENGINES
from bench.execution.engines.agent import Setup
from bench.execution.engines.engine import Engine, Executor, Node
from bench.metrics import Metric
from bench.stages import StageKind
from bench.workloads import WORKLOADS, WorkloadRow
from bench.workloads.workload import Data, Samples, Workload
from docs.reference.markdown import assemble, block, code, docstring
from docs.reference.markdown import table as table_of
from reports.content import Content
from reports.formats.table import FORMATS, Format
from techniques.backends import BACKENDS, BackendRow
from techniques.backends.protocol import Backend, Numerics, OwnClock, Program
from techniques.backends.text_engine import (
    EngineOptions,
    OwnTimes,
    Scores,
    ServesTexts,
    TextEngine,
    TimesItself,
)
from techniques.compression import COMPRESSIONS, CompressionRow
from techniques.compression.context import Context
from techniques.optimizers import OPTIMIZERS, OptimizerRow, Span
from techniques.parallel import PARALLELS, ParallelRow, TensorPlan
from techniques.regime import AVERAGES, CLIPS, SCHEDULES, Regime, ScheduleRow
from techniques.registry import Registry, Row

INTRODUCTION = """A plug-in adds rows to tables. `--plugin mine.py` runs a file of yours that adds them; a
package adds them through an entry point. A row names its implementation as `"package.module:name"` or
`"path/to/file.py:name"` and does not import it, so listing what there is stays fast."""

REGISTRIES: tuple[Registry[Any], ...] = (
    *(OPTIMIZERS, SCHEDULES, CLIPS, AVERAGES, PARALLELS),
    *(COMPRESSIONS, BACKENDS, WORKLOADS),
)

ENTRY_POINTS = """An entry point names a function that gets the table and adds rows to it. It runs when the
table is first read, so it must not import what takes time."""

PROJECT = """<!-- test: pyproject -->
```toml title="pyproject.toml"
[project.entry-points."bench.optimizers"]
mine = "my_package.rows:add_optimizers"
```"""

FUNCTION = """```python title="my_package/rows.py"
def add_optimizers(table):
    table.add(
        "signum",
        "my_package.signum:build",
        about="The sign of the momentum (Bernstein et al. 2018)",
        defaults={"lr": 1e-3, "momentum": 0.9},
    )
```"""


OPTIMIZERS_TEXT = """`implementation` is called with the model's named parameters and the row's settings,
or, if it is a class of optimizers, with the bare parameters. It returns an object with `step` and
`zero_grad`, such as any optimizer of `torch.optim`. What it may have besides:

- `train` and `eval`, called around training, swap the weights that are trained with those that are evaluated.
- `period`: after how many steps its work repeats.
- `variant`: how it goes over tensors.
- `differentiates_twice`: whether its next step takes gradients of gradients.
- `warm_up`: compiles what the first step needs."""

REGIME_TEXT = """`implementation` of a schedule is called as `factor(step, steps, **settings)`. It returns
what the optimizer's own rate is multiplied by in step number `step`, from 0, of `steps` that are planned.

That of an average is called as `weight(step, steps, **settings)`. It returns the share that the weights
after the step have in the average: 0 before the average begins, 1 as it begins.

That of a clipping is called as `clip(parameters, **settings)`. It changes their gradients in place and
returns two tensors without dimensions: the norm of the gradients before, and whether they were clipped.

A backend that trains gets all three as a `Regime`, where a cell asks for any."""


def page() -> str:
    """Return the page."""
    groups = [(code(group), f"adds {axis}s") for group, axis in entry_point_groups().items()]
    return assemble(
        "Plug-ins",
        INTRODUCTION,
        "## Entry points",
        ENTRY_POINTS,
        table_of(("group", ""), groups),
        PROJECT,
        FUNCTION,
        "## Rows",
        "`TABLE.add(name, implementation, about=..., ...)` takes these fields by name. Rows of "
        "optimizers, compressions, backends and workloads have those of `Row` and their own.",
        *(
            part
            for row in (
                *(Row, OptimizerRow, Span, ScheduleRow, ParallelRow),
                *(CompressionRow, BackendRow, WorkloadRow),
            )
            for part in _dataclass(row)
        ),
        "## Optimizers",
        OPTIMIZERS_TEXT,
        "## Schedules, clipping and averages",
        REGIME_TEXT,
        *_dataclass(Regime),
        "## Several devices",
        "`implementation` of a way to train on several devices is called in every rank as "
        "`spread(model, ranks, plan)`. It changes the model and returns what is called in its place. `plan` "
        "is the workload's `tensor_plan`.",
        *_dataclass(TensorPlan),
        "## Compression steps",
        "`implementation` is called as `apply(model, context, **settings)` and returns the model.",
        *_protocol(Context),
        "## Backends\n\n`implementation` is called with the row's settings and returns a `Backend`.",
        *(part for thing in (Backend, Program, OwnClock) for part in _protocol(thing)),
        *_dataclass(Numerics),
        "A backend whose row says that it `generates` continues texts by an engine.",
        *(part for thing in (ServesTexts, TextEngine, Scores, TimesItself) for part in _protocol(thing)),
        *_dataclass(EngineOptions),
        *_dataclass(OwnTimes),
        "## Metrics",
        "`METRICS.add(name, about=..., ...)` takes these fields by name; all but `about` have a default.",
        *_dataclass(Metric),
        "## Engines",
        "`implementation` is called with the run's `Setup`, a function that prints a line, and the row's "
        "settings. It returns an `Engine`.",
        *(part for thing in (Engine, Executor) for part in _protocol(thing)),
        *(part for thing in (Node, Setup) for part in _dataclass(thing)),
        "## Stage kinds",
        "`STAGES.add(StageKind(...))` takes these fields.",
        *_dataclass(StageKind),
        "## Output formats",
        "`FORMATS.add(name, render, about=...)`; `render(content)` yields pairs of a path and bytes.",
        *_dataclass(Format),
        *_dataclass(Content),
        "## Workloads",
        *(part for thing in (Workload, Data, Samples) for part in _dataclass(thing)),
    )


def entry_point_groups() -> dict[str, str]:
    """Return the entry-point groups that the tables read, with what each adds."""
    own = {table._entry_points: table.axis for table in REGISTRIES}
    return own | {
        ENGINES._entry_points: ENGINES.axis,
        "bench.metrics": "metric",
        "bench.stages": "stage kind",
        FORMATS._entry_points: "output format",
    }


def _protocol(thing: type) -> Iterator[str]:
    yield f"### {thing.__name__}\n\n{code(f'{thing.__module__}.{thing.__name__}')}\n\n{docstring(thing)}"
    annotations = [
        f"{name}: {_annotation(kind)}" for name, kind in vars(thing).get("__annotations__", {}).items()
    ]
    if annotations:
        yield block("\n".join(annotations))
    for name, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else member
        if (
            inspect.isfunction(function)
            and (not name.startswith("_") or name == "__call__")
            and function.__doc__
        ):
            signature = str(inspect.signature(function)).replace("'", "")
            decorated = "@property\n" if isinstance(member, property) else ""
            yield block(f"{decorated}def {name}{signature}") + f"\n\n{docstring(function)}"


def _dataclass(thing: Any) -> Iterator[str]:
    assert is_dataclass(thing)
    yield f"### {thing.__name__}\n\n{code(f'{thing.__module__}.{thing.__name__}')}\n\n{docstring(thing)}"  # type: ignore[union-attr]
    own = [entry for entry in fields(thing) if entry.name in vars(thing).get("__annotations__", {})]
    rows = [(code(entry.name), code(_annotation(entry.type)), _default(entry)) for entry in own]
    yield table_of(("field", "type", "default"), rows)


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(entry: Any) -> str:
    if entry.default is MISSING and entry.default_factory is MISSING:
        return "required"
    if entry.default is MISSING:
        return "empty"
    if callable(entry.default):
        return "none"
    return {"''": "empty", "()": "empty", "None": "none"}.get(repr(entry.default), code(repr(entry.default)))
