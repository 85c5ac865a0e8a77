"""`bench rank`: which optimizer needs the least, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunId, StoreUrl
from bench.formatting import print_table, say
from bench.plugins import load_plugins

if TYPE_CHECKING:
    from reports.frames.ranking import Ranking
    from reports.frames.sensitivity import Sensitivity

FOLDER = "ranking"
"""Where a run's folder has the files of this command."""


def rank(
    run_id: RunId = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Optimizer of the run to compare the others with; the first one by default."),
    ] = None,
    by_steps: Annotated[bool, typer.Option("--by-steps", help="Rank by steps, not by time.")] = False,
    difference: Annotated[
        float,
        typer.Option(min=0.02, max=10, help="Difference that power statements are about: 0.1 is 10 %."),
    ] = 0.1,
    every_rate: Annotated[
        bool,
        typer.Option("--every-rate", help="Rank rates too that were tried beside an optimizer's own."),
    ] = False,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    plugin: Plugins = None,
) -> None:
    """Rank the optimizers of a run, with verdicts over paired seeds and a profile across workloads.

    Of an optimizer with several learning rates or batch sizes, also how far they may be off. Writes the
    tables and the figures into the run's folder.
    """
    from bench.results.store import Store
    from reports.formats.terminal import short_tables
    from reports.frames.ranking import rank as rank_run
    from reports.frames.sensitivity import sensitivity
    from reports.frames.view import read
    from reports.grids.ranking import ranking_grids
    from reports.grids.sensitivity import sensitivity_grids

    load_plugins(plugin or [])
    store = Store.open(results, store_url or "", create=False)
    run_id = store.find_run(run_id)
    view = read(store, run_id)
    store.close()
    ranking = rank_run(view, baseline, by_steps=by_steps, difference=difference, every_rate=every_rate)
    sensitive = sensitivity(view)
    for table in short_tables([*ranking_grids(ranking), *sensitivity_grids(sensitive.ranges)]):
        print_table(table.title, table.rows, table.columns)
    for note in ranking.notes:
        say(f"note: {note}")
    say(f"ranking: {_write(ranking, sensitive, results, run_id)}")


COMMANDS = (Command("rank", "Compare", rank, place=0),)


def _write(ranking: Ranking, sensitive: Sensitivity, results: Path, run_id: str) -> Path:
    """Write the tables and the figures; return their folder."""
    from bench.files import replace_file
    from bench.results.folder import refuse_links

    folder = results / run_id / FOLDER
    refuse_links(results, f"{run_id}/{FOLDER}")
    for name, data in (*_files(ranking), *_sensitivity_files(sensitive)):
        replace_file(folder / name, data)
    return folder


def _files(ranking: Ranking) -> Iterator[tuple[str, bytes]]:
    from reports.formats.csv import as_csv
    from reports.plots.profile import draw_profile

    across = ranking.across
    for name, frame in (
        ("optimizers", ranking.ranking),
        ("pairs", ranking.pairs),
        *([("tuning", ranking.tuning)] if len(ranking.tuning) else []),
        ("across", across.table),
        ("profile", across.profile),
    ):
        yield f"{name}.csv", as_csv(frame)
    plot = draw_profile(across)
    if plot:
        yield f"{plot.name}.png", plot.png
        yield f"{plot.name}.svg", plot.svg


def _sensitivity_files(sensitive: Sensitivity) -> Iterator[tuple[str, bytes]]:
    from reports.formats.csv import as_csv
    from reports.frames.sensitivity import BATCH_SIZE, RATE
    from reports.plots.sensitivity import draw_sensitivity

    if sensitive.ranges.empty:
        return
    yield "sensitivity.csv", as_csv(sensitive.ranges)
    yield "sensitivity_points.csv", as_csv(sensitive.points)
    for workload in dict.fromkeys(sensitive.ranges["workload"]):
        for setting in (RATE, BATCH_SIZE):
            plot = draw_sensitivity(sensitive.ranges, sensitive.points, workload, setting)
            if plot:
                yield f"{plot.name}.png", plot.png
                yield f"{plot.name}.svg", plot.svg
