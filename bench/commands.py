"""What the commands do with a run: carry it out, report it, hold it against another."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.estimate import (
    CostModel,
    Prediction,
    make_estimator,
    make_model,
    prediction_lines,
    progress_of,
)
from bench.metrics import at_least, counted, format_value
from bench.plan import KINDS
from bench.plugins import load_plugins
from bench.session import Prepared, RunOptions, execute, prepare
from bench.sharing import shares
from bench.store import Store
from bench.store.store import STORE_NAME
from bench.terminal import one_line, say, visible

if TYPE_CHECKING:
    from bench.flop_report import FlopQuestion
    from bench.profiling import Profile
    from bench.roofline import RooflinePoint

MOST_OPERATORS = 25

PLAIN_WIDTH = 120
"""Columns of a table that goes to a file or a pipe, which have no width of their own."""


def run(options: RunOptions) -> bool:
    """Run a matrix and write its report; returns whether every stage is ok."""
    prepared = prepare(options, say=_say)
    for note in prepared.notes:
        _say(note)
    outcome = execute(prepared, lambda run_id: report(run_id, options.results, complete=True), say=_say)
    if not outcome.ok:
        say("some stages failed; the report names them", file=sys.stderr)
    return outcome.ok


def dry_run(options: RunOptions, *, probes: bool) -> None:
    """Print what a run would do: cells, distinct stages, what it would skip and why, time and disk.

    With `probes`, one stage of each class that nothing is known of is measured first, elsewhere.
    """
    prepared = prepare(options, fetch=False, say=_say)
    plan = prepared.plan
    for note in prepared.notes:
        say(note)
    say(
        f"{counted(len(plan.cells), 'cell')}, {len(plan.skipped)} of them skipped; "
        f"{counted(len(plan.stages), 'distinct stage')}:"
    )
    for kind in KINDS:
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
    from bench.probing import plan_probe, probe
    from reports.report import write

    smaller, targets = plan_probe(prepared, model)
    if not targets:
        return
    kinds = counted(len(targets), "kind")
    _say(f"measuring {kinds} of stages that nothing is known of (--no-probe guesses them)")
    probe(smaller, write)


def report(run_id: str | None, results: Path, *, complete: bool = False) -> None:
    """Write a run's report anew and print its short form; `complete` where that is the run's last act."""
    from reports.report import estimate_text, notes_text, overhead_text, short_tables, write
    from reports.verdict import SMOKE

    store = Store.open(results, create=False)
    run_id = store.find_run(run_id)
    path = write(store, run_id, results / run_id, complete=complete)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    smoke = store.run(run_id)["request"].get("smoke")
    if smoke:
        console.print(SMOKE, markup=False)
    for short in () if smoke else short_tables(store, run_id):
        table = Table(title=visible(short.title), title_justify="left", box=SIMPLE, pad_edge=False)
        for column in short.columns:
            table.add_column(column, no_wrap=True)
        for row in short.rows:
            table.add_row(*map(visible, row))
        console.print(table)
    notes = visible(notes_text(store, run_id))
    if notes:
        console.print(notes, markup=False, soft_wrap=True)
    console.print(visible(overhead_text(store, run_id)), markup=False)
    console.print(visible(estimate_text(store, run_id)), markup=False, soft_wrap=True)
    console.print(visible(f"report: {path}"), markup=False, soft_wrap=True)


def flops(question: FlopQuestion, plugins: Iterable[Path]) -> None:
    """Print a model's FLOPs module by module."""
    from bench.flop_report import HEADINGS, flop_report
    from bench.listing import print_table

    load_plugins(plugins)
    report = flop_report(question)
    print_table(report.title, [HEADINGS, *report.rows])
    for note in report.notes:
        say(note)


def doctor(plugins: Iterable[Path]) -> None:
    """Measure what this machine can do and how steadily, and print it with advice."""
    from bench.doctor import diagnose, diagnosis_lines

    load_plugins(plugins)
    for line in diagnosis_lines(diagnose()):
        say(line)


def selftest(part: str, results: Path, filter_text: str) -> None:
    """Print what measuring costs, or what intervals are worth."""
    from bench.selftest import print_part

    print_part(part, results, filter_text)


def profile(cell: str, run_id: str | None, results: Path, plugins: Iterable[Path]) -> None:
    """Trace what a cell serves; print its operators by their own time."""
    from bench.listing import print_table
    from bench.profiling import profile_cell

    load_plugins(plugins)
    profiled = profile_cell(cell, run_id, results)
    whole = sum(operator.self_s for operator in profiled.operators) or 1.0
    rows = [
        (
            operator.name,
            f"{operator.calls / profiled.calls:.3g}",
            format_value("latency_s", operator.self_s / profiled.calls),
            f"{100 * operator.self_s / whole:.1f} %",
        )
        for operator in profiled.operators[:MOST_OPERATORS]
        if operator.self_s
    ]
    title = f"{cell}: operators by their own time, of {profiled.calls} calls under the profiler"
    print_table(title, [("operator", "a call", "time in a call", "share"), *rows])
    say(f"trace, for ui.perfetto.dev or Chrome: {profiled.trace}")
    _print_memory(cell, profiled)
    _print_roofline(results, profiled)


def _print_memory(cell: str, profiled: Profile) -> None:
    if not profiled.memory:
        say("memory timeline: this runtime's buffers are not PyTorch's to see")
        return
    from reports.plots.timeline import draw_timeline

    figure = profiled.timeline.with_suffix(".svg")
    figure.write_bytes(draw_timeline(cell, profiled.memory, profiled.calls).svg)
    peak = format_value("peak_tensor_bytes", max(size for _, size in profiled.memory))
    say(f"memory timeline: {profiled.timeline} and {figure.name}, {peak} at the peak of the trace")


def _print_roofline(results: Path, profiled: Profile) -> None:
    """Print where the cell's own timing, not the profiler's, lies under this machine's ceilings."""
    from reports.tables.roofline import infer_point
    from reports.view import read

    store = Store.open(results, create=False)
    point = infer_point(read(store, profiled.run_id), profiled.infer, profiled.lower)
    store.close()
    if point is None:
        say("roofline: unknown, the run has no timing, count of operations or ceiling for this cell")
        return
    say(f"roofline: {_roofline(point)}")


def _roofline(point: RooflinePoint) -> str:
    """Write a point; of an incomplete count its numbers are the least that they can be."""
    numbers = (
        format_value("achieved_operations_per_s", point.operations_per_s),
        f"{point.operations_per_byte:.3g} operations a byte",
        f"{100 * point.utilization:.1f} %",
    )
    rate, intensity, peak = map(at_least, numbers) if point.incomplete else numbers
    text = f"{rate} at {intensity} (an estimate: the least bytes), {peak} of this machine's peak"
    if point.binds is None:
        text += "; what binds it is unknown"
    elif point.share is None:
        text += f"; bound by {point.binds}, its ceiling is unknown"
    else:
        share = f"{100 * point.share:.1f} %"
        text += f"; bound by {point.binds}, {at_least(share) if point.incomplete else share} of that ceiling"
    return text + (f"; FLOPs are incomplete: {point.incomplete}" if point.incomplete else "")


def save_baseline(name: str, run_id: str | None, results: Path) -> None:
    """Keep a run's values under a name."""
    from bench.regression import baseline_run, save

    store = Store.open(results, create=False)
    run_id = store.find_run(run_id)
    before = baseline_run(name, results)
    replaced = f", in place of run {before}" if before and before != run_id else ""
    say(f"baseline {name}: {save(store, run_id, name, results)}, from run {run_id}{replaced}")


def check(name: str, run_id: str | None, threshold: float, results: Path) -> bool:
    """Hold a run against a baseline and print the verdicts; returns whether nothing got worse."""
    from bench.regression import check as compare
    from bench.regression import verdict_lines

    store = Store.open(results, create=False)
    comparison = compare(store, store.find_run(run_id), name, results, threshold)
    for line in verdict_lines(comparison):
        say(line)
    return comparison.clean


def clean(results: Path, keep: int, yes: bool) -> None:
    """Print what nobody needs any more, and remove it where `yes` says so."""
    from bench.cleaning import remove, survey
    from bench.results_folder import alone_in

    store = Store.open(results, create=False)
    with alone_in(results):
        found = survey(store, results, keep)
        for item in found.items:
            say(f"{item.bytes:>15,} bytes  {item.what}: {item.name}")
        if found.row_bytes:
            rows = f"rows of {counted(len(found.runs), 'run')}" if found.runs else "unused room"
            say(f"{found.row_bytes:>15,} bytes  {rows} in {STORE_NAME}")
        say(f"kept: {', '.join(found.kept) or 'no run'}")
        say(f"shared: {found.shared_bytes:,} bytes that artifacts have in common are kept once")
        if yes:
            say(f"freed: {remove(store, results, found):,} bytes")
        else:
            say(f"would free: {found.bytes:,} bytes; `bench clean --yes` does")


def _say(text: str) -> None:
    say(text, file=sys.stderr)
