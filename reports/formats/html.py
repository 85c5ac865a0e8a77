"""`report.html`: one file that opens without a network; everything from the run is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from reports.content import Content
from reports.formats.page import render_page
from reports.formats.table import FORMATS, File
from reports.grids.cell import LEGEND


def render(content: Content) -> Iterator[File]:
    """Yield the one file."""
    yield "report.html", render_html(content).encode()


def render_html(content: Content) -> str:
    """Return the report as one HTML page with its images, style and script inside."""
    return render_page(
        "report.html.j2",
        images=True,
        content=content,
        legend=LEGEND,
        plots={plot.name: base64.b64encode(plot.png).decode() for plot in content.plots},
    )


FORMATS.add("html", render, about="report.html: the whole report, one page that opens offline", last=True)
