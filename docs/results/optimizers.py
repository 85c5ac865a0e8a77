"""The page of the matrix `optimizers`: who needs the least, how sure that is, where a step's time goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from docs.reference.markdown import prose, table
from docs.results.measured import Measured, assemble, model_of
from reports.frames.ranking import Ranking, rank
from reports.frames.sensitivity import sensitivity
from reports.frames.view import RunView
from reports.grids.grid import Grid
from reports.grids.ranking import ranking_grids
from reports.grids.sensitivity import sensitivity_grids
from reports.plots.figure import Plot
from reports.plots.profile import draw_profile
from reports.plots.sensitivity import draw_sensitivities
from reports.plots.steps import draw_steps

CSV = "optimizers.csv"
_WORKLOAD = "fashion-mnist-simplecnn"
"""The workload whose steps are shown: those of the others take microseconds, most of it Python's."""


def page(measured: Measured) -> str:
    """Return the page."""
    view = _view(measured)
    ranking, sensitive = _ranking(view), sensitivity(view)
    profile, *rates, steps = _plots(measured)
    *of_workloads, across = ranking_grids(ranking)
    return assemble(
        "optimizers: which needs the least to the target, and how sure that is",
        measured,
        "`bench rank` prints these tables. Times are steps × the step time, which was timed apart. A ratio "
        "has its 95 % interval over paired seeds, and its verdict after Holm's correction over all pairs of "
        f"the workload. [{CSV}](../examples/{CSV}) has all columns.",
        *_grid(across),
        *_shown(profile),
        _notes(ranking),
        *(part for grid in of_workloads for part in _grid(grid)),
        *(part for grid in sensitivity_grids(sensitive.ranges) for part in _grid(grid)),
        *(part for plot in rates for part in _shown(plot)),
        "## Where the time and the memory of a step go",
        *_shown(steps),
    )


def figures(measured: Measured) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each figure of the page."""
    for plot in filter(None, _plots(measured)):
        yield _file(plot), plot.svg


def _plots(measured: Measured) -> Sequence[Plot | None]:
    """Return the figures, drawn once: the profile, the rates of each workload that has several, the steps."""

    def draw() -> list[Plot | None]:
        sensitive = sensitivity(view)
        return [
            draw_profile(_ranking(view).across),
            *draw_sensitivities(sensitive.ranges, sensitive.points),
            draw_steps(measured.frames["steps"], _WORKLOAD),
        ]

    view = _view(measured)
    plots: Sequence[Plot | None] = view.once("plots of the page", draw)
    return plots


def _ranking(view: RunView) -> Ranking:
    ranking: Ranking = view.once("ranking of the page", lambda: rank(view))
    return ranking


def _view(measured: Measured) -> RunView:
    if measured.view is None:
        raise ValueError("a ranking takes the run itself, not only its tables")
    return measured.view


def _shown(plot: Plot | None) -> Iterator[str]:
    if plot:
        yield f"![{plot.title}](../examples/{_file(plot)})"
        yield prose(plot.caption)


def _file(plot: Plot) -> str:
    return f"optimizers-{plot.name}.svg"


def _notes(ranking: Ranking) -> str:
    return "\n".join(f"- {prose(note)}" for note in ranking.notes)


def _grid(grid: Grid) -> Iterator[str]:
    workload, mark, rest = grid.title.partition(":")
    yield f"## {prose(model_of(workload) + mark + rest)}"
    yield table(grid.columns, ([prose(entry.text) for entry in row] for row in grid.rows))
