"""`report.html`: one file that opens without a network; everything from the run is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.formatting import visible
from reports.content import Content
from reports.formats.table import FORMATS, File
from reports.grids.cell import LEGEND


def render(content: Content) -> Iterator[File]:
    """Yield the one file."""
    yield "report.html", render_html(content).encode()


def render_html(content: Content) -> str:
    """Return the report as one HTML page with its images, style and script inside."""
    loader = PackageLoader("reports")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    script, _, _ = loader.get_source(environment, "sort.js")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        content=content,
        legend=LEGEND,
        script=script,
        # With the script's hash as the only one allowed, text that slipped through could not run.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        images={plot.name: base64.b64encode(plot.png).decode() for plot in content.plots},
    )


FORMATS.add("html", render, about="report.html: the whole report, one page that opens offline", last=True)
