"""`bench sensitivity`: which layers of a model lose quality where they are rounded or pruned."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunOption, StoreUrl, Trust
from bench.errors import BenchError
from bench.formatting import print_table, say, three_digits
from bench.plugins import load_plugins
from bench.results.folder import refuse_links
from bench.workloads.trust import trust

if TYPE_CHECKING:
    from bench.models.sensitivity import LayerLoss

FOLDER = "sensitivity"
MAX_LAYERS = 40


def sensitivity(
    cell: Annotated[str, typer.Argument(help="A cell's name, as in `bench show` and the report.")],
    bits: Annotated[str, typer.Option(help="Bits of a weight to try, from 2 to 8.")] = "8,4,3,2",
    sparsity: Annotated[str, typer.Option(help="Shares of zeros to try, from 0 to 1.")] = "0.5,0.75,0.9",
    samples: Annotated[int, typer.Option(min=1, help="Validation samples to measure with.")] = 512,
    run_id: RunOption = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Round or prune the weights of one layer at a time, and measure what that costs: a table and a plot.

    Measures the cell's model, before its format, in eager PyTorch and on validation data. `mixed` of a format
    leaves the most sensitive layers out by the same means.
    """
    trust(trusted or ())
    load_plugins(plugin or [])
    tried = _numbers("--bits", bits, 2, 8), _numbers("--sparsity", sparsity, 0, 1)
    run_id, losses = _measured(cell, run_id, results, store_url or "", samples, *tried)
    if not losses:
        say(f"{cell}: its model has no linear or convolution layer")
        return
    _print(cell, losses)
    files = _write(results, run_id, cell, losses)
    say(f"all of it: {files[0]}; plot: {files[1]}")


COMMANDS = (Command("sensitivity", "Measure", sensitivity),)


def _numbers(option: str, text: str, low: float, high: float) -> list[float]:
    """Read numbers with commas between; raises BenchError for another text, and for one out of range."""
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise BenchError(f"{option}: {text!r} must be numbers with commas between, as 4,2") from None
    whole = option == "--sparsity" or all(number == int(number) for number in found if math.isfinite(number))
    if not whole or not all(low <= number <= high for number in found):
        kind = "numbers" if option == "--sparsity" else "integers"
        raise BenchError(f"{option}: {text!r} must be {kind} from {low:g} to {high:g}")
    return found


def _measured(
    name: str,
    run_id: str | None,
    results: Path,
    store_url: str,
    most: int,
    bits: Sequence[float],
    sparsities: Sequence[float],
) -> tuple[str, list[LayerLoss]]:
    """Return the run of a cell and the losses of its model's layers.

    Raises BenchError where there is no such cell, its artifact is gone, or its model is an ONNX file.
    """
    import torch

    from bench.execution.resources import find_resources
    from bench.models.files import load_model
    from bench.models.sensitivity import layer_losses
    from bench.results.lookup import artifact_of, find_cell
    from bench.results.store import Store
    from bench.stages import settings_of
    from bench.stages.settings import LoweredSettings
    from bench.workloads.loading import load_workload
    from bench.workloads.workload import Samples

    store = Store.open(results, store_url, create=False)
    run_id = store.find_run(run_id)
    cell = find_cell(store, run_id, name)
    folder = artifact_of(cell, run_id, results, "compress", "train")
    lower = next((stage for stage in store.stages(run_id) if stage.key == cell.stages.get("lower")), None)
    store.close()
    if lower is None:
        raise BenchError(f"cell {name} of run {run_id} is trained only; name one that is served")
    settings: LoweredSettings = settings_of("lower", lower.request.settings)
    torch.set_num_threads(len(find_resources().cpus))
    workload, data = load_workload(settings.workload, settings.test_samples)
    model = load_model(folder, settings.workload)
    if hasattr(model, "onnx_file"):
        raise BenchError(f"cell {name}: its model is an ONNX file; sensitivity goes by the layers of PyTorch")
    known = data.validation or Samples(data.test_inputs, data.test_targets)
    few = Samples(known.inputs[:most], known.targets[:most])
    whole = [int(number) for number in bits]
    return run_id, list(layer_losses(model, workload, few, settings.quality_metric, whole, sparsities))


def _print(cell: str, losses: Sequence[LayerLoss]) -> None:
    """Print a row for each layer, the most sensitive first, and a column for each change."""
    from bench.models.sensitivity import most_sensitive_first

    names = most_sensitive_first(losses)
    layers = [[loss for loss in losses if loss.layer == name] for name in names[:MAX_LAYERS]]
    by_quality = losses[0].loss_points is not None
    columns = ("layer", "weights", *map(_column, layers[0]))
    rows = [(own[0].layer, f"{own[0].weights:,}", *map(_value, own)) for own in layers]
    what = "quality loss (pts) and relative error" if by_quality else "relative error"
    print_table(f"{cell}: {what} of the outputs where one layer is changed", rows, columns)
    if len(names) > MAX_LAYERS:
        say(f"the {MAX_LAYERS} most sensitive of {len(names)} layers")


def _column(loss: LayerLoss) -> str:
    """Return what is done to a layer, for people."""
    return f"{loss.amount:g} bits" if loss.change == "bits" else f"{100 * loss.amount:g} % zeros"


def _value(loss: LayerLoss) -> str:
    error = three_digits(loss.relative_error)
    return error if loss.loss_points is None else f"{loss.loss_points:+.1f} ({error})"


def _write(results: Path, run_id: str, cell: str, losses: Sequence[LayerLoss]) -> tuple[Path, Path]:
    from reports.plots.figure import slug
    from reports.plots.layers import draw_layers

    folder = results / run_id / FOLDER
    refuse_links(results, f"{run_id}/{FOLDER}")
    folder.mkdir(parents=True, exist_ok=True)
    table, figure = folder / f"{slug(cell)}.csv", folder / f"{slug(cell)}.svg"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(losses[0])))
        writer.writeheader()
        writer.writerows(asdict(loss) for loss in losses)
    figure.write_bytes(draw_layers(cell, losses).svg)
    return table, figure
