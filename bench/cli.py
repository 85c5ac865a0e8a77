"""The commands: what they are called and take. What they do is elsewhere, imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help=(
        "Measures which optimizer trains, and which compression on which backend serves, a model "
        "for the least time, energy and memory."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Find, fetch and locate data sets.", no_args_is_help=True)
baseline = typer.Typer(help="Keep a run that others are held against.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(baseline, name="baseline")

Results = Annotated[Path, typer.Option("--results", help="Folder of the store, artifacts and reports.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="Python file that adds techniques or workloads; may be given again."),
]
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
        "onnx:FILE, module:my.py:make_model, ...; may be given again. `bench list workloads` shows all.",
    ),
]
MatrixOption = Annotated[
    str,
    typer.Option(
        "--matrix", "-m", help="quick, article, full, workloads, long, backends, serve, ci, or a TOML file."
    ),
]
Trust = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust",
        help="Model file to load although it could run code (exported:FILE of a maker whom you trust); "
        "may be given again.",
    ),
]
RUN = Annotated[str | None, typer.Argument(help="Run id or its beginning; the latest by default.")]

RESULTS = Path("results")
INTERRUPTED = 130
KEPT_RUNS = 3


@app.command()
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
) -> None:
    """Run every cell of a matrix, measure it, and write the report.

    The same command after an interruption goes on where it stopped. Exits with 1 where a stage failed.

    Axes of [train]: workload, optimizer, backend, precision, batch_size, seed; of [infer]: compression,
    backend, precision, batch_size. A filter's backend is that of [infer], train.backend that of [train].
    [budget]: train_steps, recover_steps, student_steps, target_interval, max_launches, max_repeats, sample_s,
    flush_cache, timeout_s, memory_gib, allocator. [server] asks for a rate of arrivals, [prices] for money,
    [estimate] for energy; [peaks.DEVICE] says what a device does at most.

    In a matrix file "*" stands for all that an axis has, run or skipped with the reason, and backend = "auto"
    for every backend that runs on this machine (`bench machine` shows which); in [train], that trains too.
    """
    from bench.commands import dry_run as show_plan
    from bench.commands import run as run_matrix
    from bench.session import RunOptions

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
        ok = run_matrix(options)
    except KeyboardInterrupt:
        typer.echo("bench: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not ok:
        raise typer.Exit(1)


@app.command("list")
def list_(
    table: Annotated[
        str | None,
        typer.Argument(help="optimizers, compressions, backends, workloads or metrics; all without it."),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List what there is, and what of it cannot run here and why."""
    from bench.listing import print_tables

    print_tables(table, plugin or [])


@app.command()
def machine(
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
    plugin: Plugins = None,
) -> None:
    """Print what this machine is, which backends run on it, and what would add the others."""
    from bench.machine import print_machine

    print_machine(plugin or [], as_json=as_json)


@app.command()
def doctor(plugin: Plugins = None) -> None:
    """Measure what this machine can do and how steadily, and say what would make its timings better.

    Takes half a minute; the machine should do nothing else meanwhile.
    """
    from bench.commands import doctor as examine

    examine(plugin or [])


@app.command()
def selftest(
    part: Annotated[
        str,
        typer.Argument(
            help="loop (3 minutes), harness, intervals (each a quarter of an hour), "
            "runtimes (half an hour, up to two where it is noisy), or all."
        ),
    ] = "all",
    results: Annotated[
        Path, typer.Option("--results", help="Folder of its own runs, apart from yours.")
    ] = RESULTS / "selftest",
    filter_text: Annotated[
        str,
        typer.Option("--filter", help="What to keep of runtimes, e.g. 'workload=*resnet18,batch_size=1'."),
    ] = "",
) -> None:
    """Measure what the suite's own numbers are worth here. Let the machine do nothing else meanwhile.

    loop: what our timed loop adds to a call, against a bare loop. harness: `bench run` with its processes and
    live display against bare scripts, paired by round. runtimes: launches of three models on the CPU's
    runtimes against the runtimes' own tools, in pairs; interrupted, it prints what the pairs so far say.
    intervals: of a hundred launches, how often intervals from ten hold what they should, and how often A
    against A is called different.
    """
    from bench.commands import selftest as measure

    measure(part, results, filter_text)


@app.command()
def report(run_id: RUN = None, results: Results = RESULTS) -> None:
    """Write a run's report anew, print its short tables and where its time went."""
    from bench.commands import report as write_report

    write_report(run_id, results)


@app.command()
def show(
    record: Annotated[str, typer.Argument(help="A cell's name, or the key of a stage or its beginning.")],
    run_id: Annotated[str | None, typer.Option("--run", help="Run id; the latest by default.")] = None,
    results: Results = RESULTS,
) -> None:
    """Show everything known of one cell or stage, with the command that makes it again."""
    from bench.showing import show as show_record

    show_record(record, run_id, results)


@app.command()
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
    run_id: Annotated[str | None, typer.Option("--run", help="Run id; the latest by default.")] = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
) -> None:
    """Count a model's FLOPs module by module, with fvcore's count beside it and why the two differ.

    A multiply-add is 2. Of a workload the training step is counted too: forward, backward, optimizer.
    """
    from bench.commands import flops as print_flops
    from bench.flop_report import FlopQuestion, parse_shape
    from bench.trust import trust

    trust(trusted or ())
    shape = parse_shape(input_shape) if input_shape else ()
    question = FlopQuestion(target, results, run_id, batch_size, shape, optimizer)
    print_flops(question, plugin or [])


@app.command()
def profile(
    cell: Annotated[str, typer.Argument(help="A cell's name, as bench show and the report have it.")],
    run_id: Annotated[str | None, typer.Option("--run", help="Run id; the latest by default.")] = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
) -> None:
    """Trace what a cell serves by its runtime's own profiler: operators by time, and a file for Perfetto.

    In a pass of its own: nothing of it is ever mixed with timings.
    """
    from bench.commands import profile as profile_cell
    from bench.trust import trust

    trust(trusted or ())
    profile_cell(cell, run_id, results, plugin or [])


@app.command()
def check(
    name: Annotated[str, typer.Option("--baseline", help="Name of a saved baseline.")],
    run_id: RUN = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=10, help="Slowdown that counts, as a share: 0.1 is ten percent.")
    ] = 0.1,
    results: Results = RESULTS,
) -> None:
    """Hold a run against a baseline. Exits with 0 clean, 1 regression, 2 bad use."""
    from bench.commands import check as check_run

    if not check_run(name, run_id, threshold, results):
        raise typer.Exit(1)


@app.command()
def clean(
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Finished runs of each matrix to keep, the latest.")
    ] = KEPT_RUNS,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only shown.")] = False,
    results: Results = RESULTS,
) -> None:
    """Show what nobody needs any more and its bytes: old runs, artifacts that no kept run uses, left-overs.

    A run that a baseline names is always kept, and so is one that its command can still go on with.
    """
    from bench.commands import clean as clean_results

    clean_results(results, keep, yes)


@baseline.command("save")
def baseline_save(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    run_id: RUN = None,
    results: Results = RESULTS,
) -> None:
    """Keep a run's values under a name, in the results folder's baselines/."""
    from bench.commands import save_baseline

    save_baseline(name, run_id, results)


@data.command("list")
def data_list() -> None:
    """List the data sets, with licence, size and whether they are here."""
    from bench.listing import print_data

    print_data()


@data.command("get")
def data_get(name: Annotated[str, typer.Argument(help="Data set.")]) -> None:
    """Find a data set, or fetch it into the cache."""
    from bench import datasets
    from bench.terminal import say

    say(datasets.fetch(name, say))


@data.command("where")
def data_where(name: Annotated[str, typer.Argument(help="Data set.")]) -> None:
    """Print the folder that a data set lies in; exits with 1 where it is not here."""
    from bench import datasets
    from bench.terminal import say

    place = datasets.locate(name)
    say(place if place is not None else f"{name} is not here; `bench data get {name}` fetches it")
    if place is None:
        raise typer.Exit(1)
