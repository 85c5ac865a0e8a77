"""`bench run`: run a matrix, or say what running it would do."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, Trust, Verbose
from bench.execution.run_log import shown
from bench.formatting import counted, one_line, say
from bench.matrix.shipped import shipped_matrices

if TYPE_CHECKING:
    from bench.costs import CostModel, Prediction
    from bench.execution.session import Prepared, RunOptions

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", help="Cells to keep: axis=pattern|pattern,...; e.g. 'optimizer=adam,backend=onnx*'."
    ),
]
Workloads = Annotated[
    list[str] | None,
    typer.Option(
        "--workload",
        help="Run this instead of the matrix's workloads: a name, my.py:make_workload, huggingface:DIR, "
        "onnx:FILE, module:my.py:make_model, ...; repeatable. `bench list workloads` shows all.",
    ),
]
MatrixOption = Annotated[
    str,
    typer.Option("--matrix", "-m", help=f"{', '.join(shipped_matrices())}, or a TOML file of yours."),
]


def run(
    matrix: MatrixOption,
    filter_text: Filter = None,
    workload: Workloads = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show cells, stages, what is skipped, and predict time and disk."),
    ] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe/--no-probe",
            help="For --dry-run: measure one stage of each kind that has not been seen here before.",
        ),
    ] = True,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Two steps, one launch: every distinct stage executes once.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run even where an unfinished one could go on.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Make every artifact again, even those an earlier run has left.")
    ] = False,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
    verbose: Verbose = False,
) -> None:
    """Run every cell of a matrix, measure it, and write the report.

    The same command after an interruption goes on where it stopped. Exits with 1 where a stage failed.

    `bench list matrix` shows what a matrix file may hold: its sections and their keys. In one, "*" selects
    everything that an axis has, and backend = "auto" every backend that runs on this machine (`bench machine`
    shows which); in [train], every one that trains too. In a filter, backend is that of [infer] and
    train.backend that of [train].
    """
    from bench.execution.session import RunOptions

    if filter_text is not None and not filter_text.strip():
        raise typer.BadParameter("--filter is empty; leave it out to take every cell")
    options = RunOptions(
        matrix,
        results,
        filter_text or "",
        tuple(workload or ()),
        tuple(plugin or ()),
        smoke,
        fresh,
        anew,
        tuple(trusted or ()),
    )
    if dry_run:
        show_plan(options, probes=probe)
        return
    try:
        with shown(verbose):
            ok = run_matrix(options)
    except KeyboardInterrupt:
        typer.echo("bench: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not ok:
        raise typer.Exit(1)


COMMANDS = (Command("run", "Measure", run, place=0),)


def run_matrix(options: RunOptions) -> bool:
    """Run a matrix and write its report; returns whether every stage is ok."""
    from bench.commands.report import write_and_print
    from bench.execution.session import execute, prepare

    prepared = prepare(options, say=_tell)
    for note in prepared.notes:
        _tell(note)
    outcome = execute(
        prepared, lambda run_id: write_and_print(run_id, options.results, complete=True), say=_tell
    )
    if not outcome.ok:
        _tell("some stages failed; the report names them")
    return outcome.ok


def show_plan(options: RunOptions, *, probes: bool) -> None:
    """Print what a run would do: cells, distinct stages, what it would skip and why, time and disk.

    With `probes`, one stage of each class that nothing is known of is measured first, elsewhere.
    """
    from bench.costs import prediction_lines
    from bench.execution.session import prepare
    from bench.plan.sharing import shares
    from bench.stages import STAGES

    prepared = prepare(options, fetch=False, say=_tell)
    plan = prepared.plan
    for note in prepared.notes:
        say(note)
    say(
        f"{counted(len(plan.cells), 'cell')}, {len(plan.skipped)} of them skipped; "
        f"{counted(len(plan.stages), 'distinct stage')}:"
    )
    for kind in STAGES.rows():
        several = " (more where artifacts turn out to differ in structure)" if shares(plan, kind) else ""
        say(f"  {kind:9} {len(plan.of_kind(kind))}{several}")
    for reason, count in Counter(cell.skipped for cell in plan.skipped).items():
        say(f"skipped, {counted(count, 'cell')}: {reason}")
    for cell in plan.cells:
        skipped = f"  (skipped: {cell.skipped})" if cell.skipped else ""
        say(f"  {one_line(cell.name + skipped)}")
    for line in prediction_lines(_predicted(prepared, probes)):
        say(line)


def _predicted(prepared: Prepared, probes: bool) -> Prediction:
    """Predict a run from what is known, after probes of what is not, without a change to the results."""
    from bench.costs import make_estimator, make_model, progress_of
    from bench.results.store import STORE_NAME, Store

    results, stages = prepared.options.results.resolve(), list(prepared.plan.stages.values())
    cpus = len(prepared.resources.cpus)
    store = Store.open(results, create=False) if (results / STORE_NAME).is_file() else None
    if probes:
        _probe(prepared, make_model(stages, cpus, prepared.most_launches, store))
    going_on = store.unfinished_run(prepared.identity) if store and not prepared.options.fresh else None
    estimator = make_estimator(stages, cpus, prepared.most_launches, store, results)
    anew = prepared.options.anew
    return estimator.predict(stages, progress_of(stages, results, store, going_on, anew=anew))


def _probe(prepared: Prepared, model: CostModel) -> None:
    from bench.execution.probing import plan_probe, probe
    from reports.write import write

    smaller, targets = plan_probe(prepared, model)
    if not targets:
        return
    kinds = counted(len(targets), "kind")
    _tell(f"measuring {kinds} of stages that nothing is known of (--no-probe guesses them)")
    probe(smaller, write)


def _tell(text: str) -> None:
    say(text, file=sys.stderr)
