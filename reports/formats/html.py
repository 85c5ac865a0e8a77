"""`report.html`: one file that opens without a network; everything from the run is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from reports.content import Content
from reports.formats.page import render_page
from reports.formats.table import FORMATS, File
from reports.grids.cell import LEGEND
from reports.page.assets import script, style
from reports.page.cards import cards_of
from reports.page.data import page_data
from reports.page.numbers import as_json


def render(content: Content) -> Iterator[File]:
    """Yield the one file."""
    yield "report.html", render_html(content).encode()


def render_html(content: Content) -> str:
    """Return the report as one HTML page with its data, images, style and script inside."""
    cards = cards_of(content)
    data, sections = page_data(content, cards)
    figures = [figure for section in sections for figure in section.figures]
    return render_page(
        "report.html.j2",
        script=script(),
        images=True,
        content=content,
        cards=cards,
        legend=LEGEND,
        sections=sections,
        style=style(),
        pictures={figure.name: base64.b64encode(figure.png).decode() for figure in figures},
        json=as_json(data),
    )


FORMATS.add("html", render, about="report.html: the whole report, one page that opens offline", last=True)
