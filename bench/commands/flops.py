"""`bench flops`: a model's FLOPs by module, next to fvcore's count, and why they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunOption, StoreUrl, Trust
from bench.errors import BenchError
from bench.formatting import at_least, print_table, say, three_digits
from bench.plugins import first_line, load_plugins
from bench.workloads import WORKLOADS
from bench.workloads.input_files import input_files
from bench.workloads.trust import trust
from techniques.optimizers import OPTIMIZERS
from techniques.registry import TechniqueError, load_reference, nearest

if TYPE_CHECKING:
    import torch

    from bench.instruments.flop_modules import ModuleFlops
    from bench.instruments.flops import FlopCount, StepFlops
    from bench.results.store import CellRow
    from bench.workloads.workload import Data, Workload

Row = tuple[str, str, str, str, str]
_MAX_CAUSE = 200
_MAX_NUMBERS = 2**40
_RAISED = (Exception, SystemExit, GeneratorExit)
"""Whatever a user's own code may raise, except Ctrl-C."""
HEADINGS: Row = ("module", "type", "forward FLOPs", "fvcore × 2", "why they differ")


@dataclass(frozen=True)
class FlopReport:
    """A table of modules with its title, and lines under it."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FlopQuestion:
    """What to count. `target` is a cell's name, a workload, an ONNX file, or `module:name` of a model.

    `input_shape` is that of a reference's or file's (first) input; `batch_size` is for a workload, and for a
    file that leaves it open; `optimizer` is for a workload's step.
    """

    target: str
    results: Path
    run_id: str | None = None
    batch_size: int = 1
    input_shape: tuple[int, ...] = ()
    optimizer: str = "adam"
    store_url: str = field(default="", repr=False)


def flops(
    target: Annotated[
        str, typer.Argument(help="A cell's name, a workload, an .onnx file, or module:name of a model.")
    ],
    input_shape: Annotated[
        str | None, typer.Option("--input", help="Shape of a model's or file's input, as 1,3,224,224.")
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch", min=1, help="Batch size of a workload, or of a file that leaves it open."),
    ] = 1,
    optimizer: Annotated[str, typer.Option(help="Optimizer of a workload's training step.")] = "adam",
    run_id: RunOption = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Count a model's FLOPs by module, next to fvcore's count, and say why the two differ.

    A multiply-add counts as 2. For a workload, the training step is counted too.
    """
    trust(trusted or ())
    shape = parse_shape(input_shape) if input_shape else ()
    load_plugins(plugin or [])
    question = FlopQuestion(target, results, run_id, batch_size, shape, optimizer, store_url or "")
    report = flop_report(question)
    print_table(report.title, report.rows, HEADINGS)
    for note in report.notes:
        say(note)


COMMANDS = (Command("flops", "Measure", flops),)


def flop_report(question: FlopQuestion) -> FlopReport:
    """Count what the question names; raises BenchError with the nearest name if it is unknown."""
    is_workload = question.target.partition(":")[0] in WORKLOADS.rows()
    if question.target.endswith(".onnx") and not is_workload:
        return _of_file(Path(question.target), question.input_shape, question.batch_size)
    run_id, cells = _cells(question, needed=not is_workload and ":" not in question.target)
    if question.target in cells:
        return _of_cell(question, run_id, cells[question.target])
    if is_workload:
        return _of_workload(question)
    if ":" in question.target:
        return _of_reference(question)
    known = [*WORKLOADS.rows(), *cells]
    raise BenchError(
        f"{question.target!r} must be a workload, a cell's name, an .onnx file or module:name"
        f"{nearest(question.target, known)}"
    )


def parse_shape(text: str) -> tuple[int, ...]:
    """Read `1,3,28,28`."""
    try:
        shape = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise BenchError(f"--input must be a shape such as 1,3,28,28, got {text!r}")
    if prod(shape) >= _MAX_NUMBERS:
        raise BenchError(f"--input must have fewer than 2**40 numbers, got {text!r}")
    return shape


def _of_file(path: Path, shape: Sequence[int], batch_size: int) -> FlopReport:
    from bench.instruments.onnx_flops import count_onnx_file
    from bench.instruments.onnx_reading import GraphError

    if not path.is_file():
        raise BenchError(f"{path}: no such file")
    input_files(path)
    try:
        file = count_onnx_file(path, shape, batch_size)
    except GraphError as error:
        raise BenchError(f"{path}: {str(error)[:_MAX_CAUSE]}") from None
    except Exception as error:  # whatever reading a file raises that is no ONNX graph
        raise BenchError(f"{path}: not a readable ONNX model: {first_line(error)[:_MAX_CAUSE]}") from None
    rows = tuple(("", name, f"{flops:,}", "", "") for name, flops in _largest(file.flops))
    title = f"{path}: its graph, by operator, input {', '.join(file.inputs) or 'none'}"
    return FlopReport(title, rows, (_total("one run", file.flops),))


def _of_cell(question: FlopQuestion, run_id: str, cell: CellRow) -> FlopReport:
    from bench.models.files import load_model
    from bench.results.artifacts import artifact_folder
    from bench.results.lookup import artifact_of
    from bench.workloads.loading import example_batch, find_workload
    from bench.workloads.onnx_model import OnnxModel
    from techniques.backends.onnx_runtime import MODEL

    folder = artifact_of(cell, run_id, question.results, "compress", "train")
    workload = find_workload(str(cell.axes["workload"]))
    batch_size = int(cell.axes["batch_size"])
    example = example_batch(workload, workload.data(), batch_size)
    title = f"cell {cell.name} of run {run_id}: its model, batch {batch_size}"
    notes = []
    file = artifact_folder(question.results, str(cell.stages.get("lower"))) / MODEL
    if file.is_file():
        from bench.instruments.onnx_flops import count_onnx

        notes.append(_total("the ONNX file that is served, by its graph", count_onnx(file)))
    model = load_model(folder, str(cell.axes["workload"]))
    if isinstance(model, OnnxModel):
        return _of_file(model.onnx_file, example.shape, batch_size)
    return _of_model(title, model, example, notes)


def _of_workload(question: FlopQuestion) -> FlopReport:
    import torch

    from bench.workloads.loading import example_batch, find_workload
    from bench.workloads.onnx_model import OnnxModel

    row = WORKLOADS.parse(question.target).row
    try:
        workload = find_workload(question.target)
        data = workload.data()
        torch.manual_seed(0)
        model = workload.model()
        batch_size = workload.fixed_batch or question.batch_size
        example = example_batch(workload, data, batch_size)
    except (BenchError, TechniqueError):
        raise
    except _RAISED as error:
        raise BenchError(f"workload {question.target}: {first_line(error)}") from error
    if isinstance(model, OnnxModel):
        return _of_file(model.onnx_file, example.shape, batch_size)
    notes = [] if row.inference_only else _training_step(question, workload, data, model, row.batch_size)
    return _of_model(f"{question.target}, batch {batch_size}", model, example, notes)


def _training_step(
    question: FlopQuestion, workload: Workload, data: Data, model: torch.nn.Module, batch_size: int
) -> list[str]:
    from bench.instruments.flops import count_step
    from bench.workloads.checks import checked_loss
    from techniques.optimizers.torch_optim import build

    optimizer = OPTIMIZERS.parse(question.optimizer)
    step = count_step(
        model,
        checked_loss(workload.loss),
        workload.transform(data.train_inputs[:batch_size]),
        data.train_targets[:batch_size],
        build(optimizer, model),
    )
    again = step.recomputed
    return [
        f"a training step, batch {batch_size}, {optimizer.text}:",
        _total("  forward and loss", step.forward),
        _total("  backward", step.backward) + _times_forward(step),
        *([_total("  computed again in the backward pass", again)] if again.total else []),
        _total("  optimizer", step.optimizer),
    ]


def _times_forward(step: StepFlops) -> str:
    if step.backward.unknown or step.forward.unknown:
        return ""
    return f", {three_digits(step.backward.total / max(1, step.forward.total))}× forward"


def _of_reference(question: FlopQuestion) -> FlopReport:
    import torch

    try:
        found = load_reference(question.target)
        made = found if isinstance(found, torch.nn.Module) else found()
    except _RAISED as error:
        raise BenchError(f"{question.target}: {first_line(error)[:_MAX_CAUSE]}") from None
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, torch.nn.Module):
        raise BenchError(
            f"{question.target} must be a torch.nn.Module or return one when called without arguments"
        )
    if isinstance(inputs, torch.Tensor) and not question.input_shape:
        examples = iter([inputs[: question.batch_size].detach()])
    elif question.input_shape:
        examples = _drawn(model, question.input_shape)
    else:
        raise BenchError(f"{question.target}: the shape of its input is required, e.g. --input 1,3,224,224")
    example = _taken(model.eval(), examples, question)
    kind = "" if example.is_floating_point() or example.is_complex() else " of whole numbers"
    return _of_model(f"{question.target}, input {tuple(example.shape)}{kind}", model, example, [])


def _drawn(model: torch.nn.Module, shape: Sequence[int]) -> Iterator[torch.Tensor]:
    """Draw inputs of a shape: of the type of the model's weights, then whole numbers."""
    import psutil
    import torch

    weights = (
        weight.dtype for weight in model.parameters() if weight.is_floating_point() or weight.is_complex()
    )
    dtype = next(weights, torch.get_default_dtype())
    free = psutil.virtual_memory().available
    if prod(shape) * dtype.itemsize > free // 2:
        raise BenchError(
            f"--input: {', '.join(map(str, shape))} does not fit into the {free / 1e9:,.0f} GB of free memory"
        )
    # Types of 8 bits have no random numbers of their own.
    yield torch.randn(tuple(shape), dtype=torch.cfloat if dtype.is_complex else torch.float).to(dtype)
    yield whole_numbers(model, shape)


def whole_numbers(model: torch.nn.Module, shape: Sequence[int]) -> torch.Tensor:
    """Return whole numbers of a shape that every embedding of the model has a row for, the same each time."""
    import torch

    tables = [
        int(cast(Any, module).num_embeddings)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag)
    ]
    return torch.randint(min(tables, default=2), tuple(shape), generator=torch.Generator().manual_seed(0))


def _taken(model: torch.nn.Module, examples: Iterable[torch.Tensor], question: FlopQuestion) -> torch.Tensor:
    """Return the first of the examples that the model accepts."""
    import torch

    message = ""
    for example in examples:
        try:
            with torch.no_grad():
                model(example.clone())
        except _RAISED as error:  # as of an input that the model was not made for
            message = message or (str(error).splitlines() or [type(error).__name__])[0][:_MAX_CAUSE]
        else:
            return example
    shape = question.input_shape or "of its own example"
    raise BenchError(f"{question.target} rejects an input of shape {shape}: {message}")


def _of_model(title: str, model: torch.nn.Module, example: torch.Tensor, notes: Iterable[str]) -> FlopReport:
    from bench.instruments.flop_modules import module_flops
    from bench.instruments.flops import effective

    try:
        rows = module_flops(model, example)
        whole, kept = rows[0], effective(model, example)
    except _RAISED as error:  # as a counter may do to a model that runs without one
        what = str(error).partition("\n")[0][:200]
        raise BenchError(f"{title}: could not be counted: {type(error).__name__}: {what}") from None
    own = [f"without zero weights: {_number(kept, whole.unknown)} FLOPs"]
    if not whole.unknown:
        own[0] += f", {100 * kept / max(1, whole.ours):.1f} %"
    else:
        own.insert(0, f"incomplete: no formula for {', '.join(whole.unknown)}")
    return FlopReport(title, tuple(map(_row, rows)), (*own, *notes))


def _row(row: ModuleFlops) -> Row:
    theirs = "–" if row.fvcore is None else f"{row.fvcore:,}"
    return (row.name or "(whole model)", row.kind, _number(row.ours, row.unknown), theirs, row.why)


def _largest(counted: FlopCount) -> Iterator[tuple[str, int]]:
    yield from sorted(counted.by_operator.items(), key=lambda entry: -entry[1])


def _total(what: str, counted: FlopCount) -> str:
    lacking = f"; incomplete: no formula for {', '.join(counted.unknown)}" if counted.unknown else ""
    return f"{what}: {_number(counted.total, counted.unknown)} FLOPs{lacking}"


def _number(flops: int, unknown: Sequence[str]) -> str:
    return at_least(f"{flops:,}") if unknown else f"{flops:,}"


def _cells(question: FlopQuestion, *, needed: bool) -> tuple[str, dict[str, CellRow]]:
    """Return the run that is meant, and its cells by name; none where nothing has been run yet.

    Only where cells are `needed` does a store that cannot be opened matter.
    """
    from bench.results.store import Store

    try:
        store = Store.find(question.results, question.store_url)
    except BenchError:
        if needed or question.run_id:
            raise
        store = None
    if store is None:
        return "", {}
    run_id = store.find_run(question.run_id)
    return run_id, {cell.name: cell for cell in store.cells(run_id)}
