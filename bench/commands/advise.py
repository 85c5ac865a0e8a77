"""`bench advise`: the best way to serve a workload within limits, from the store's runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, StoreUrl
from bench.errors import BenchError
from bench.formatting import say
from bench.plugins import load_plugins

if TYPE_CHECKING:
    from bench.matrix.limits import Limit


def advise(
    workload: Annotated[
        str, typer.Option("--workload", help="Workload to serve; the runs' own where they have a single one.")
    ] = "",
    max_loss: Annotated[
        float | None,
        typer.Option(help="Most points of quality that may be lost to the uncompressed model."),
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(min=0.0, help="Most milliseconds of one batch.")
    ] = None,
    max_bytes: Annotated[
        float | None, typer.Option(min=0.0, help="Most bytes on disk: 2e6 is two megabytes.")
    ] = None,
    max_memory_bytes: Annotated[
        float | None, typer.Option(min=0.0, help="Most bytes of resident memory.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit", help="Another limit as in a matrix, such as 'latency_p99_ms <= 20'; repeatable."
        ),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="What to minimize: latency, size, memory, energy or money.")
    ] = "latency",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Batch size; by default the smallest that was measured.")
    ] = None,
    per_million_calls: Annotated[
        bool,
        typer.Option("--per-million-calls", help="Print what a million calls take: hours, energy, money."),
    ] = False,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run", help="Run to go by, its id or its beginning; repeatable. By default the latest ones."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    plugin: Plugins = None,
) -> None:
    """Say which compression on which backend to serve a workload with, within limits.

    From the latest runs of one machine: the answer, how sure it is, what else fits, and from how many calls
    on it pays. Exits with 1 where nothing fits for sure, and says what comes nearest and what to try next.
    """
    from bench.results.store import Store
    from reports.frames.advice import OBJECTIVES
    from reports.frames.advice import advise as advise_on
    from reports.frames.candidates import candidates_of
    from reports.prose.advice import advice_document, advice_lines
    from techniques.registry import nearest

    load_plugins(plugin or [])
    if by not in OBJECTIVES:
        near = nearest(by, OBJECTIVES)
        raise BenchError(f"--by must be one of {', '.join(OBJECTIVES)}, got {by!r}{near}")
    limits = _limits(max_loss, max_latency_ms, max_bytes, max_memory_bytes, limit or [])
    store = Store.open(results, store_url or "", create=False)
    runs = list(dict.fromkeys(store.find_run(name) for name in run or ()))
    advice = advise_on(candidates_of(store, workload, runs, batch_size), limits, by)
    if as_json:
        print(json.dumps(advice_document(advice), indent=1, allow_nan=False))
    else:
        for line in advice_lines(advice, per_million=per_million_calls):
            say(line)
    if advice.best is None:
        raise typer.Exit(1)


COMMANDS = (Command("advise", "Compare", advise, place=0),)


def _limits(
    max_loss: float | None,
    max_latency_ms: float | None,
    max_bytes: float | None,
    max_memory_bytes: float | None,
    further: list[str],
) -> list[Limit]:
    """Return the limits that the options ask for; raises MatrixError on one that is wrong."""
    from bench.matrix.limits import parse_limit

    texts = {
        "--max-loss": ("quality_loss_points <=", max_loss),
        "--max-latency-ms": ("latency_ms <=", max_latency_ms),
        "--max-bytes": ("artifact_bytes <=", max_bytes),
        "--max-memory-bytes": ("peak_rss_bytes <=", max_memory_bytes),
    }
    own = [
        parse_limit(f"{text} {value:.15g}", option)
        for option, (text, value) in texts.items()
        if value is not None
    ]
    return [*own, *(parse_limit(text, "--limit") for text in further)]
