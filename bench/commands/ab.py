"""`bench ab`: two revisions, settings or libraries, measured in turn."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results
from bench.commands.outputs import Json, Junit, Markdown, Strict, deliver
from bench.commands.run import Filter, Workloads
from bench.formatting import say

MAX_BUDGET_S = 7 * 24 * 3600.0


def ab(
    a: Annotated[
        str,
        typer.Argument(
            help="Revision, axis=value or results folder to compare with; by default main's merge base."
        ),
    ] = "",
    b: Annotated[
        str, typer.Argument(help="What to compare, of the same kind; the work tree by default.")
    ] = "",
    matrix: Annotated[
        str, typer.Option("--matrix", "-m", help="Time the launches of this matrix on both sides.")
    ] = "",
    command: Annotated[
        str, typer.Option("--command", help="Time this command on both sides instead: 'python train.py'.")
    ] = "",
    libraries: Annotated[
        str, typer.Option("--with", help="Compare libraries: 'torch==2.12 / torch==2.13'.")
    ] = "",
    budget_s: Annotated[
        float, typer.Option("--budget", min=1.0, max=MAX_BUDGET_S, help="Seconds of sampling at most.")
    ] = 120.0,
    margin: Annotated[
        float,
        typer.Option(
            min=0.0, max=10.0, help="Change that matters: sampling stops once none as large is left."
        ),
    ] = 0.01,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Slowdown that is let pass: 0.02 is 2 %.")
    ] = 0.0,
    cell: Annotated[str, typer.Option("--cell", help="Only timings whose stage has this in its name.")] = "",
    metric: Annotated[
        str, typer.Option("--metric", help="Only this metric, such as latency_s or wall_s.")
    ] = "",
    printed: Annotated[
        str, typer.Option(help="With --command: also the number that it prints, as 'samples/s: ([0-9.]+)'.")
    ] = "",
    higher: Annotated[bool, typer.Option("--higher", help="With --printed: higher is better.")] = False,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            "--extra", help="Extra of the project that a revision's own environment has too; repeatable."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the random order of sides.")] = None,
    json: Json = None,
    junit: Junit = None,
    markdown: Markdown = None,
    strict: Strict = False,
    filter_text: Filter = None,
    workload: Workloads = None,
    plugin: Plugins = None,
    results: Results = RESULTS,
) -> None:
    """Measure two sides in turn, block by block, until the difference is clear or the budget is spent.

    Sides are git revisions (in worktrees, in environments of their own where requirements differ), values of
    an axis of the matrix (compression=none against compression=int8-dynamic), libraries (--with), or results
    folders. Every sample is a fresh process. Exits with 0 (clean), 1 (a regression), 2 (bad use)
    or, with --strict, 3 (can't tell).
    """
    from bench.regression.ab.blocks import Rules
    from bench.regression.ab.comparison import Options, compare_sides

    options = Options(
        a,
        b,
        command,
        matrix,
        filter_text or "",
        tuple(workload or ()),
        tuple(plugin or ()),
        libraries,
        cell,
        metric,
        printed,
        higher,
        tuple(extra or ()),
        results=results,
        rules=Rules(budget_s, margin, threshold, seed),
    )
    comparison = compare_sides(options, lambda line: say(line, file=sys.stderr))
    deliver(comparison, json=json, junit=junit, markdown=markdown, strict=strict)


COMMANDS = (Command("ab", "Compare", ab, place=1),)
