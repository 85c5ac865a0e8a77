"""Pages that open without a network: their script is inside, and everything from a run is escaped."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.formatting import visible


def render_page(
    template: str, *, script: str = "", images: bool = False, forms: bool = False, **values: Any
) -> str:
    """Return a template of `reports/templates` as a page.

    `images` says that it has some, as data, and `forms` that it has some, to where it is from. Templates get
    the `script` and `policy` besides the values.
    """
    loader = PackageLoader("reports")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'",
        "base-uri 'none'",  # these two the default does not cover
        f"form-action '{'self' if forms else 'none'}'",
        *(["img-src data:"] if images else []),
        "style-src 'unsafe-inline'",
        # With the script's hash as the only one allowed, text that slipped through could not run.
        *([f"script-src 'sha256-{digest}'"] if script else []),
    )
    return environment.get_template(template).render(script=script, policy="; ".join(policy), **values)
