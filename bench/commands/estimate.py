"""`bench estimate`: what training and serving a model will cost, before either."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunOption, StoreUrl, Trust
from bench.commands.flops import parse_shape
from bench.errors import BenchError
from bench.formatting import print_table, say
from bench.plugins import load_plugins
from bench.workloads.trust import trust

if TYPE_CHECKING:
    from bench.projection.devices import Device
    from bench.projection.estimate import Estimate
    from bench.projection.subject import Subject

_FIGURES = (".png", ".svg")


def estimate(
    target: Annotated[
        str, typer.Argument(help="A config.json (Hugging Face), a workload, or module:name of a model.")
    ],
    tokens: Annotated[
        str | None, typer.Option(help="Tokens to train with, as 300e9, 300B or 1.4T; for texts.")
    ] = None,
    samples: Annotated[str | None, typer.Option(help="Samples to train with, as 128e6 or 128M.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples of a step, on all devices together.")] = 1,
    micro_batch: Annotated[
        int | None, typer.Option("--micro-batch", min=1, help="Samples that a replica takes at once.")
    ] = None,
    sequence: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a text; by default the model's own, at most 2,048.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option("--input", help="Shape of the input of module:name, as 1,3,224,224.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, bf16, fp16, or mixed: bf16 with fp32 weights for the optimizer.")
    ] = "mixed",
    optimizer: Annotated[str, typer.Option(help="Optimizer, as in a matrix.")] = "adamw",
    parallel: Annotated[
        str, typer.Option(help="Split over devices: dp, fsdp, tp and pp, as fsdp=8,tp=2.")
    ] = "",
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Keep the inputs of blocks alone, and run them again.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Device, as h100; measured is this machine, as a run measured it.")
    ] = "h100",
    counts: Annotated[
        str, typer.Option("--devices", help="Numbers of devices to compare, as 8,64,512; for --plot too.")
    ] = "",
    serve_batch: Annotated[
        int, typer.Option("--serve-batch", min=1, help="Texts or samples that are served at once.")
    ] = 1,
    prompt: Annotated[int | None, typer.Option(min=1, help="Tokens of a prompt that is served.")] = None,
    new_tokens: Annotated[
        int | None, typer.Option("--new-tokens", min=1, help="Tokens that are generated for each prompt.")
    ] = None,
    matrix: Annotated[
        str | None,
        typer.Option("--matrix", "-m", help="Matrix whose [prices] and [estimate] hold, for one device."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write all of it to this file as JSON.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it over --devices, to this .png or .svg file.")
    ] = None,
    run_id: RunOption = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Say what training and serving a model will cost: FLOPs, memory, time, energy, money.

    Nothing is run: FLOPs and memory are counted on shapes alone. Time is a range, from what is usual, or with
    --run from what that run reached.
    """
    from bench.projection.estimate import Question
    from bench.projection.estimate import estimate as project
    from bench.projection.model import PROJECTED_PRECISIONS
    from bench.projection.parallel import parse_parallel
    from bench.projection.serving import ServingQuestion
    from bench.projection.sources import find_subject

    trust(trusted or ())
    load_plugins(plugin or [])
    if precision not in PROJECTED_PRECISIONS:
        raise BenchError(f"--precision must be one of {', '.join(PROJECTED_PRECISIONS)}, got {precision!r}")
    device_counts = _counts(counts, plot)
    split = parse_parallel(parallel)
    subject = find_subject(target, sequence, parse_shape(input_shape) if input_shape else ())
    question = Question(
        device=_device(device, run_id, results, store_url or "", target),
        batch=batch,
        micro_batch=micro_batch,
        samples=_samples(subject, tokens, samples),
        precision=precision,
        optimizer=optimizer,
        parallel=split,
        checkpointing=checkpointing,
        device_counts=device_counts,
        serving=ServingQuestion(serve_batch, prompt, new_tokens),
    )
    if matrix:
        from bench.matrix.reading import read_matrix

        read = read_matrix(matrix)
        watts = read.estimate.watts if read.estimate else None
        question = replace(question, prices=read.prices, watts=watts)
    found = project(subject, question)
    _print(found)
    _write(found, json, plot)


COMMANDS = (Command("estimate", "Measure", estimate),)


def _print(found: Estimate) -> None:
    from reports.formats.terminal import short_tables
    from reports.grids.estimate import estimate_grids

    for table in short_tables(estimate_grids(found)):
        print_table(table.title, table.rows, table.columns)
    for note in found.notes:
        say(f"note: {note}")


def _write(found: Estimate, json: Path | None, plot: Path | None) -> None:
    from bench.files import replace_file
    from reports.plots.estimate import draw_estimate

    if json is not None:
        replace_file(json, (jsonlib.dumps(asdict(found), indent=2, allow_nan=False) + "\n").encode())
        say(f"JSON: {json}")
    if plot is not None:
        drawn = draw_estimate(found)
        if drawn is None:
            raise BenchError("--plot requires two numbers of --devices that the batch divides over evenly")
        replace_file(plot, drawn.svg if plot.suffix == ".svg" else drawn.png)
        say(f"plot: {plot}")


def _counts(text: str, plot: Path | None) -> tuple[int, ...]:
    """Read `8,64,512`. Raises BenchError for anything else, and for a plot of none or to another format."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= 10**6 for part in parts):
        raise BenchError(f"--devices must be numbers from 1 to 1,000,000 such as 8,64,512, got {text!r}")
    if plot is not None and plot.suffix not in _FIGURES:
        raise BenchError(f"--plot must end with {' or '.join(_FIGURES)}, got {plot}")
    if plot is not None and not parts:
        raise BenchError("--plot requires --devices, such as 8,64,512")
    return tuple(sorted({int(part) for part in parts}))


def _samples(subject: Subject, tokens: str | None, samples: str | None) -> float | None:
    """Return how many samples are to be trained with, None where neither option says."""
    from bench.projection.amounts import parse_amount

    if tokens and samples:
        raise BenchError("--tokens and --samples say the same; give one of them")
    if samples:
        return parse_amount("--samples", samples)
    if not tokens:
        return None
    if subject.tokens is None:
        raise BenchError("--tokens is for texts; this model takes samples: give --samples")
    return parse_amount("--tokens", tokens) / subject.tokens


def _device(name: str, run_id: str | None, results: Path, store_url: str, target: str) -> Device:
    """Return a device by its published figures; with a run, at the utilization that it reached there."""
    from bench.projection.devices import MEASURED, find_device

    if name != MEASURED and run_id is None:
        return find_device(name)
    from bench.results.store import Store
    from reports.frames.reached import as_reached, measured_device
    from reports.frames.view import read

    store = Store.open(results, store_url, create=False)
    view = read(store, store.find_run(run_id))
    store.close()
    return as_reached(measured_device(view) if name == MEASURED else find_device(name), view, target)
