"""All data of a page: tables, what charts draw, and the records that open from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.formatting import visible
from reports.content import Content
from reports.grids.grid import Grid
from reports.page.cards import Card
from reports.page.charts import charts_data
from reports.page.layout import MAX_PICTURE_BYTES, REST, SECTIONS, Section, is_drawn, section_of
from reports.page.records import keys_in, records_data
from reports.page.tables import table_data

if TYPE_CHECKING:
    from reports.plots import Plot


@dataclass(frozen=True)
class Filled:
    """A section with what a run has for it: tables by their place in the data, and figures.

    `beside` are the names of figures for which the page has no room.
    """

    section: Section
    tables: tuple[tuple[int, Grid], ...]
    charts: tuple[str, ...]
    figures: tuple[Plot, ...]
    beside: tuple[str, ...]


_DATA_OF_CHART = {
    **{"curves": "curves", "target": "target", "profile": "profile", "sensitivity": "sensitivity"},
    **{"matrix": "matrix", "parts": "parts", "memory": "memory"},
    **{"classes": "classes", "roofline": "points", "latency": "points", "quality-latency": "points"},
    **{"loss-speedup": "points", "quality-cost": "points"},
}


def page_data(content: Content, cards: Iterable[Card]) -> tuple[dict[str, Any], list[Filled]]:
    """Return a page's data, and its sections in order; sections without anything are left out.

    The records of the `cards` are among the data.
    """
    grids = [*content.grids, *content.problems]
    grids += [content.environment] if content.environment.rows else []
    tables = [table_data(grid) for grid in grids]
    charts = charts_data(content)
    named = [*charts.get("points", {}).get("key", ()), *charts.get("target", {}).get("key", ())]
    named += [curve["key"] for curve in charts.get("curves", ())]
    named += [choice.key for card in cards for choice in card.every()]
    keys = keys_in(tables) | {key for each in named for key in each.split(" ")}
    data = {
        "run": visible(str(content.view.run["id"])),
        "tables": tables,
        "charts": charts,
        "records": records_data(content.view, content.frames["tradeoff"], keys),
    }
    return data, _filled(content, grids, charts)


def _filled(content: Content, grids: list[Grid], charts: dict[str, Any]) -> list[Filled]:
    found = []
    room = MAX_PICTURE_BYTES
    for section in SECTIONS:
        own = [
            (number, grid)
            for number, grid in enumerate(grids)
            if (section_of(grid.name, "tables") or REST) == section.name
        ]
        figures = [
            plot
            for plot in content.plots
            if (section_of(plot.name, "figures") or REST) == section.name and not is_drawn(plot.name)
        ]
        pictures = []
        for plot in figures:
            room -= len(plot.png)
            pictures += [plot] if room >= 0 else []
        beside = tuple(plot.name for plot in figures if plot not in pictures)
        drawn = tuple(name for name in section.charts if _DATA_OF_CHART[name] in charts)
        if own or figures or drawn:
            tables = tuple(_ordered(section, own))
            found.append(Filled(section, tables, drawn, tuple(pictures), beside))
    return found


def _ordered(section: Section, tables: list[tuple[int, Grid]]) -> list[tuple[int, Grid]]:
    """Return tables in the section's order, those that it does not name last."""
    names = [name.rstrip("*") for name in section.tables]

    def place(table: tuple[int, Grid]) -> int:
        return next((at for at, name in enumerate(names) if table[1].name.startswith(name)), len(names))

    return sorted(tables, key=place)
