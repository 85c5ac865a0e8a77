"""The page of techniques: optimizers, compressions, formats and backends, from their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from docs.reference.markdown import assemble, code, codes, prose, table
from techniques.backends import BACKENDS, BackendRow
from techniques.compression import COMPRESSIONS, CompressionRow, Tolerance
from techniques.optimizers import OPTIMIZERS, OptimizerRow
from techniques.optimizers.row import Shape
from techniques.parallel import PARALLELS
from techniques.precisions import PRECISIONS
from techniques.regime import AVERAGES, CLIPS, SCHEDULES
from techniques.registry import Row
from techniques.settings import spell

INTRODUCTION = """A technique is written `name`, `name:argument` or `name:argument,setting=value`, in a
matrix and in `--filter`: `prune-channels:0.25`, `sgd:lr=0.05`, `distill:0.5,temperature=2`. A value with
`,`, `=`, `+` or `|` in it stands in double quotes. The setting marked *argument* is the one that bare text
after the colon sets. A range is written as in mathematics: `[0, 1)` includes 0 and excludes 1.

`bench list` prints the same tables, with what cannot run on your machine and why."""

OPTIMIZERS_TEXT = """Defaults are those of the paper, or of its authors' code. Where neither has a rate, it
was chosen on the workload that the second table names, by its test data: there such an optimizer has an
advantage. `variant` is how the update goes over the tensors. The second table has what the settings are
searched in, evenly on their scales (`complement`: in the logarithm of 1 - x), and the state by theory: bytes
for each weight of a matrix of 1,024 × 1,024 in fp32, and what an implementation keeps beyond it."""

SCHEDULES_TEXT = """A schedule multiplies the rates of all groups of an optimizer. `warmup` and `decay` are
shares of the planned steps, `final` and `start` shares of the optimizer's own rate."""

CLIPS_TEXT = """Gradients are clipped once they are those of the whole batch, without fp16's scale."""

AVERAGES_TEXT = """The average is evaluated and saved; training goes on with its own weights. Statistics of
batch normalization are averaged as weights are."""

PARALLELS_TEXT = """`devices` of `[train]` says how many devices train one model, `parallel` in which way. See
[Several devices](../guides/devices.md)."""

RECIPES = """A compression is a recipe: steps joined by `+`, applied from left to right, and at most one
format, always last: `prune-channels:0.5+int8-static`. Order matters: `a+b` and `b+a` are two recipes. A
recipe with a step that would undo an earlier one is refused before anything runs.

The second table has each step's control, which differs in the idea only (if a matrix lacks it, tables compare
with `finetune`); the budget of steps that it trains for, of the workload or `[budget]`; what speed to expect;
and what it may not follow."""


def page() -> str:
    """Return the page."""
    compressions = COMPRESSIONS.rows().values()
    steps = [row for row in compressions if row.kind != "format"]
    formats = [row for row in compressions if row.kind == "format"]
    return assemble(
        "Techniques",
        INTRODUCTION,
        "## Optimizers",
        OPTIMIZERS_TEXT,
        _rows(OPTIMIZERS.rows().values()),
        table(
            ("name", "searched in", "rate chosen on", "bytes of state a weight", "does not train"),
            map(_optimizer, OPTIMIZERS.rows().values()),
        ),
        f"## Schedules\n\n{SCHEDULES_TEXT}",
        _rows(SCHEDULES.rows().values()),
        f"## Clipping\n\n{CLIPS_TEXT}",
        _rows(CLIPS.rows().values()),
        f"## Averages\n\n{AVERAGES_TEXT}",
        _rows(AVERAGES.rows().values()),
        f"## Several devices\n\n{PARALLELS_TEXT}",
        _rows(PARALLELS.rows().values()),
        f"## Compressions\n\n{RECIPES}\n\n### Steps",
        _rows(steps),
        table(("name", "control", "trains for", "faster?", "refused after"), map(_step, steps)),
        "### Formats",
        "A format says how a backend stores and multiplies numbers. The tolerance bounds how far outputs may "
        "be from those of the same model before lowering; outside it a cell is INVALID and is not ranked.",
        table(("name", "settings and defaults", "what it is", "tolerance"), map(_format, formats)),
        "## Backends\n\nA backend is a runtime on one kind of hardware.",
        *_backends(BACKENDS.rows().values()),
        "## Precisions\n\nThe type of the numbers that are not quantized.",
        table(
            ("name", "type of PyTorch"), ((code(name), code(row.dtype)) for name, row in PRECISIONS.items())
        ),
    )


def _rows(rows: Iterable[Row]) -> str:
    return table(
        ("name", "settings and defaults", "what it is", "requires"),
        ((code(row.name), settings_of(row), prose(row.about), requires(row)) for row in rows),
    )


def _optimizer(row: OptimizerRow) -> tuple[str, str, str, str, str]:
    spans = "<br>".join(f"{code(name)} {span}" for name, span in row.space.items())
    matrix = [Shape((1024, 1024))]
    each = ", ".join(
        (f"{name} " if len(row.state) > 1 else "") + f"{rule(matrix, row.defaults) / matrix[0].elements:.3g}"
        for name, rule in row.state.items()
    )
    beyond = "; ".join(
        f"{rule(matrix, row.defaults) / matrix[0].elements:.3g} more: {prose(row.surplus_about)}"
        for rule in row.surplus.values()
    )
    tried = code(row.tried_on) if row.tried_on else ""
    return code(row.name), spans, tried, "; ".join(filter(None, (each, beyond))), prose(row.cannot)


def settings_of(row: Row) -> str:
    """Return a row's settings with their defaults and ranges."""
    return "<br>".join(
        code(f"{key}={spell(value)}")
        + (" *argument*" if key == row.argument else "")
        + (f" in {code(row.ranges[key])}" if key in row.ranges else "")
        for key, value in row.defaults.items()
    )


def requires(row: Row) -> str:
    """Return the packages that a row needs, and the command that installs them."""
    return codes(row.needs) + (f"<br>{code(row.install)}" if row.install else "")


def _step(row: CompressionRow) -> tuple[str, str, str, str, str]:
    refused = "<br>".join(f"{name}: {prose(why)}" for name, why in row.undoes.items())
    alone = "any step: it starts anew" if row.fresh and not row.taught else ""
    trains = code(f"{row.budget}_steps") if row.kind == "step" and row.budget != "none" else ""
    return (
        code(row.name),
        codes([row.control] if row.control and row.kind == "step" else []),
        trains,
        prose(row.speed),
        refused or alone,
    )


def _format(row: CompressionRow) -> tuple[str, str, str, str]:
    return code(row.name), settings_of(row), prose(row.about), _tolerance(row.tolerance)


def _tolerance(tolerance: Tolerance) -> str:
    bounds = {
        "relative error ≤": tolerance.relative_error,
        "cosine ≥": tolerance.cosine,
        "same answers ≥": tolerance.top1_agreement,
    }
    return ", ".join(f"{name} {value:g}" for name, value in bounds.items() if value is not None)


def _backends(rows: Iterable[BackendRow]) -> Iterator[str]:
    for row in rows:
        yield f"### {row.name}\n\n{prose(row.about)}."
        facts = {
            "device": row.device,
            "precisions": codes(row.precisions),
            "trains": "yes" if row.trains else "no",
            "serves": "" if row.serves else "no",
            "reads an ONNX file": "yes" if row.reads_onnx else "no",
            "settings": settings_of(row),
            "requires": requires(row),
            "calibrates by": codes(row.calibrations) if "int8-static" in row.formats else "",
            "leaves layers out of formats": "yes" if row.keeps_layers else "",
        }
        for name, how in row.formats.items():
            only = row.format_precisions.get(name)
            facts[code(name)] = how + (f", in {codes(only)}" if only else "")
        for name, why in row.no_kernel.items():
            facts[code(name)] = f"no kernel: {why}"
        yield table(("", ""), ((name, value) for name, value in facts.items() if value))
