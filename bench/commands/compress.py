"""`bench compress`: search recipes of compression and backends for the best that meets a goal."""

from __future__ import annotations

import re
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, StoreUrl, Trust, Verbose
from bench.execution.run_log import shown
from bench.formatting import clock_text, counted, format_points, format_value, print_table, say, three_digits

if TYPE_CHECKING:
    from bench.search.goals import Answer, Problem
    from bench.search.space import Candidate, Space
    from bench.search.strategy import Search

LOSS = "quality_loss_points"
MIN_BUDGET_S, MAX_BUDGET_S = 10.0, 30 * 24 * 3600.0
INTERRUPTED = 130

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_NAMED = 12


def compress(
    workload: Annotated[str, typer.Option("--workload", help="What to compress; see bench list workloads.")],
    goal: Annotated[
        list[str] | None,
        typer.Option("--goal", help=f"What must hold, as '{LOSS} <= 1', the default; repeatable."),
    ] = None,
    minimize: Annotated[
        str, typer.Option("--minimize", help="Metric of a served cell; see bench list metrics.")
    ] = "latency_s",
    budget: Annotated[str, typer.Option("--budget", help="Time to spend: 90s, 30m, 2h.")] = "30m",
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Backend that may serve; repeatable; all that run here by default."),
    ] = None,
    step: Annotated[
        list[str] | None,
        typer.Option("--step", help="Step to try, as prune-channels:0.5; repeatable; all by default."),
    ] = None,
    format_: Annotated[
        list[str] | None,
        typer.Option("--format", help="Format to try, as int8-static; repeatable; all by default."),
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="Of what is not quantized.")] = "fp32",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, max=10**6)] = 1,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure everything again, instead of going on with a search.")
    ] = False,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    verbose: Verbose = False,
) -> None:
    """Search for the compression and backend that meet a goal and minimize a metric, by measuring here.

    Recipes are steps (settings of the tables' steps, alone and two in a row), at most one format, and a
    backend. What promises to win is measured with all launches and the whole test set. The same command goes
    on with a search that its budget ended. Exits with 1 if nothing meets the goals.
    """
    from bench.execution.options import RunOptions
    from bench.plugins import load_plugins
    from bench.search.goals import read_problem
    from bench.search.runs import Runs
    from bench.search.space import make_space
    from bench.search.strategy import Search
    from bench.workloads import WORKLOADS
    from bench.workloads.trust import trust

    started_s = time.monotonic()
    budget_s = read_budget(budget)
    trust(trusted or ())
    load_plugins(plugin or [])
    problem = read_problem(goal or [f"{LOSS} <= 1"], minimize)
    chosen = WORKLOADS.parse(workload)
    space = make_space(
        by_structure=problem.by_structure,
        with_steps=not chosen.row.inference_only,
        precision=precision,
        steps=step or (),
        formats=format_ or (),
        backends=backend or (),
    )
    options = RunOptions(
        matrix="",
        results=results,
        plugins=tuple(plugin or ()),
        fresh=fresh,
        trusted=tuple(trusted or ()),
        store=store_url or "",
    )
    runs = Runs(chosen.text, problem, options, budget_s, precision, batch_size, started_s, _tell)
    search = Search(space, problem, runs, _tell)
    _print_space(space)
    try:
        with shown(verbose):
            search.run()
    except KeyboardInterrupt:
        typer.echo("bench: interrupted; run the same command to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    spent = f"in {clock_text(time.monotonic() - started_s)} of {clock_text(budget_s)}"
    found = print_found(search, spent, store_url or "", results)
    if runs.spent:
        say("the budget ended the search; the same command goes on with it")
    if not found:
        raise typer.Exit(1)


COMMANDS = (Command("compress", "Measure", compress),)


def read_budget(text: str) -> float:
    """Return the seconds of a text such as 90s, 30m or 2h; raises typer.BadParameter."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not MIN_BUDGET_S <= seconds <= MAX_BUDGET_S:
        raise typer.BadParameter(f"--budget must be from 10s to 30d, as 90s, 30m or 2h, got {text!r}")
    return seconds


def _tell(text: str) -> None:
    say(text, file=sys.stderr)


def _print_space(space: Space) -> None:
    steps = f"{counted(len(space.steps), 'step')} and {counted(len(space.chains), 'chain')} of two"
    _tell(f"{counted(len(space), 'candidate')}: {steps}, in {counted(len(space.placements), 'place')}")
    for text in space.left_out[:_MOST_NAMED]:
        _tell(f"left out: {text}")


def print_found(search: Search, spent: str, store_url: str, results: Path) -> bool:
    """Print the front and the winner; return whether there is one."""
    problem, won = search.problem, search.winner()
    _print_front(search, won[0] if won else None)
    measured = counted(len(search.answers), "candidate")
    full = len([answer for answer in search.full.values() if not answer.reason])
    say(f"measured {measured} of {len(search.space):,}, {full:,} of them with all launches, {spent}")
    if won is None:
        goals = " and ".join(f"{goal.metric} {goal.asks}" for goal in problem.goals)
        say(f"no candidate meets {goals}" if search.answers else "nothing was measured yet")
        return False
    candidate, answer = won
    say(f"winner: {candidate}: {_described(problem, answer)}{_speedup(search, candidate, answer)}")
    where = [] if results == RESULTS else ["--results", str(results)]
    where += ["--store", store_url] if store_url else []
    for what, words in (
        ("record", ["show", answer.cell, "--run", answer.run_id, *where]),
        ("take it away", ["export", answer.cell, "--run", answer.run_id, "--to", "compressed", *where]),
    ):
        say(f"{what}: {shlex.join(['bench', *words])}")
    return True


def _print_front(search: Search, won: Candidate | None) -> None:
    front = search.front(LOSS)
    if not front:
        return
    problem = search.problem
    others = [goal.metric for goal in problem.goals if goal.metric not in (LOSS, problem.minimize)]
    rows = [
        (
            "winner" if candidate == won else "",
            candidate.compression,
            candidate.backend,
            format_value(problem.minimize, answer.values[problem.minimize]),
            format_points(answer.values[LOSS]),
            *(format_value(metric, answer.values[metric]) for metric in others),
            answer.doubt or f"{answer.launches} launches",
        )
        for candidate, answer in front
    ]
    headings = ("", "compression", "backend", problem.minimize, "quality loss (pts)", *others, "from")
    print_table("Pareto front", rows, headings)


def _described(problem: Problem, answer: Answer) -> str:
    values = [f"{metric} {_written(metric, answer.values[metric])}" for metric in problem.metrics]
    doubt = f", preliminary: {answer.doubt}" if answer.doubt else ""
    return ", ".join(values) + doubt


def _written(metric: str, value: float) -> str:
    return format_points(value) if metric == LOSS else format_value(metric, value)


def _speedup(search: Search, candidate: Candidate, answer: Answer) -> str:
    """Compare the winner with the uncompressed model in the same place, where both were measured as well."""
    from bench.search.space import Candidate as Place

    metric = search.problem.minimize
    rung = search.full if candidate in search.full else search.first
    plain = rung.get(Place("", "", candidate.backend))
    if plain is None or plain.reason or not answer.values[metric] or plain is answer:
        return ""
    return f"; none takes {three_digits(plain.values[metric] / answer.values[metric])}× as much there"
