"""`bench run`: run a matrix, or show what a run would do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, StoreUrl, Trust, Verbose
from bench.execution.run_log import shown
from bench.formatting import counted, say
from bench.matrix.shipped import shipped_matrices

if TYPE_CHECKING:
    from bench.costs import CostModel, Prediction
    from bench.execution.options import RunOptions
    from bench.execution.preparation import Prepared

MAX_BUDGET_S = 30 * 24 * 3600.0

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells."""

Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", help="Cells to run: axis=pattern|pattern,...; e.g. 'optimizer=adam,backend=onnx*'."
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
    typer.Option("--matrix", "-m", help=f"{', '.join(shipped_matrices())}, or the path of a TOML file."),
]


def run(
    matrix: MatrixOption,
    filter_text: Filter = None,
    workload: Workloads = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show cells, stages and skipped cells; predict time and disk space."),
    ] = False,
    cells: Annotated[
        bool, typer.Option("--cells", help="With --dry-run: list every cell, and why it is skipped.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe/--no-probe",
            help="With --dry-run: first measure one stage of each kind that was never measured here, instead "
            "of going by a reference machine.",
        ),
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Run every distinct stage once, with two steps and one launch.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run even if an unfinished one could be resumed.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Make every artifact, and measure peak rates, again, even if an earlier run did.",
        ),
    ] = False,
    anew: Annotated[bool, typer.Option("--anew", hidden=True)] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            help="Run one of several parts that take about as long, as 2/5; 2/5@SPLIT refuses another split.",
        ),
    ] = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="Where stages run: local, ray (cluster at RAY_ADDRESS) or slurm; see bench list engines.",
        ),
    ] = "local",
    budget_s: Annotated[
        float | None,
        typer.Option(
            "--budget-s",
            min=1.0,
            max=MAX_BUDGET_S,
            help="Seconds for each workload beside its training; what has no room in them is skipped.",
        ),
    ] = None,
    artifacts: Annotated[
        str, typer.Option("--artifacts", help="URL to keep artifacts at too: s3://..., gs://..., file://...")
    ] = "",
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    verbose: Verbose = False,
) -> None:
    """Run every cell of a matrix, measure it, and write the report.

    After an interruption, the same command resumes the run. Exits with 1 if a stage failed or a limit of the
    matrix is broken.

    `bench list matrix` shows the sections and keys of a matrix file. The value "*" selects everything that is
    registered for an axis, and backend = "auto" every backend that runs on this machine (`bench machine`
    shows which); in [train], every one that can also train. In a filter, backend is that of [infer] and
    train.backend that of [train].
    """
    from bench.execution.options import RunOptions
    from bench.plan.shards import parse_shard

    if filter_text is not None and not filter_text.strip():
        raise typer.BadParameter("--filter must not be empty; omit it to select every cell")
    options = RunOptions(
        matrix,
        results,
        filter_text or "",
        tuple(workload or ()),
        tuple(plugin or ()),
        smoke,
        fresh,
        rebuild or anew,  # --anew is the earlier name of --rebuild
        tuple(trusted or ()),
        parse_shard(shard) if shard is not None else None,
        engine,
        artifacts,
        budget_s,
        store_url or "",
    )
    if (cells or as_json) and not dry_run:
        raise typer.BadParameter("--cells and --json show what a run would do; add --dry-run")
    if dry_run:
        show_plan(options, probes=probe, cells=cells, as_json=as_json)
        return
    try:
        with shown(verbose):
            ok = run_matrix(options)
    except KeyboardInterrupt:
        typer.echo("bench: interrupted; run the same command to resume", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not ok:
        raise typer.Exit(1)


COMMANDS = (Command("run", "Measure", run, place=0),)


def run_matrix(options: RunOptions) -> bool:
    """Run a matrix and write its report; return whether every stage is ok and no limit is broken."""
    from bench.commands.report import write_and_print
    from bench.execution.overview import missing_lines
    from bench.execution.preparation import prepare
    from bench.execution.session import execute

    prepared = prepare(options, say=_tell)
    for note in (*prepared.notes, *missing_lines(prepared.plan.missing)):
        _tell(note)

    kept: list[bool] = []

    def conclude(run_id: str) -> None:
        kept.append(write_and_print(run_id, options.results, options.store, complete=True, brief=True))

    outcome = execute(prepared, conclude, say=_tell)
    if not outcome.ok:
        _tell("some stages failed; see the report")
    return outcome.ok and all(kept)


def show_plan(options: RunOptions, *, probes: bool, cells: bool = False, as_json: bool = False) -> None:
    """Print what a run would do: cells, distinct stages, what it would skip and why, time and disk space.

    With `probes`, one stage of each unknown class is measured first, in a folder of its own.
    """
    from bench.execution.overview import cell_lines, overview_document, overview_lines
    from bench.execution.preparation import prepare

    prepared = prepare(options, fetch=False, say=_tell)
    prediction = _predicted(prepared, probes)
    if as_json:
        print(json.dumps(overview_document(prepared, prediction, cells=cells), indent=1))
        return
    for note in prepared.notes:
        say(note)
    for line in overview_lines(prepared, prediction):
        say(line)
    for line in cell_lines(prepared.plan.cells) if cells else ():
        say(line)


def _predicted(prepared: Prepared, probes: bool) -> Prediction:
    """Predict a run; unknown stages are probed first. The results folder stays as it is."""
    from bench.costs import make_estimator, make_model, progress_of
    from bench.results.store import Store

    results, stages = prepared.options.results.resolve(), list(prepared.plan.stages.values())
    cpus = len(prepared.resources.cpus)
    store = Store.find(results, prepared.options.store)
    if probes:
        _probe(prepared, make_model(stages, cpus, prepared.max_launches, store))
    resumed = store.unfinished_run(prepared.identity) if store and not prepared.options.fresh else None
    estimator = make_estimator(
        stages, cpus, prepared.max_launches, store, results, budget_s=prepared.matrix.budget.budget_s
    )
    rebuild = prepared.options.rebuild
    return estimator.predict(stages, progress_of(stages, results, store, resumed, rebuild=rebuild))


def _probe(prepared: Prepared, model: CostModel) -> None:
    from bench.execution.probing import plan_probe, probe
    from reports.write import write

    smaller, targets = plan_probe(prepared, model)
    if not targets:
        return
    kinds = counted(len(targets), "kind")
    _tell(f"measuring {kinds} of stages without earlier measurements")
    probe(smaller, write)


def _tell(text: str) -> None:
    say(text, file=sys.stderr)
