"""Runs side by side as one HTML page that opens offline; everything from the runs is escaped."""

from __future__ import annotations

import base64
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.formatting import visible
from bench.regression.side_by_side import SideBySide
from reports.checks.side_by_side import MAX_PAGE_ROWS, sides_grid, summary, whole_grid


def render(found: SideBySide) -> str:
    """Return the page with its style and script inside."""
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
    return environment.get_template("compare.html.j2").render(
        title=" vs ".join(side.name for side in found.sides),
        summary=summary(found),
        notes=found.notes,
        sides=sides_grid(found),
        table=whole_grid(found),
        left_out=max(0, len(found.rows) - MAX_PAGE_ROWS),
        script=script,
        # With the script's hash as the only one allowed, text that slipped through could not run.
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )
