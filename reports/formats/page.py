"""Pages that open without a network: their script is inside, and everything from a run is escaped."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.formatting import visible


def render_page(template: str, *, script: str = "", images: bool = False, **values: Any) -> str:
    """Return a template of `reports/templates` as a page; `images` says that it has some, as data.

    Its `script` is that of `sort.js` unless another is given. Templates get it and `policy` besides the
    values.
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
    if not script:
        script, _, _ = loader.get_source(environment, "sort.js")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    # With the script's hash as the only one allowed, text that slipped through could not run.
    sources = f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    policy = f"default-src 'none'; {'img-src data:; ' if images else ''}{sources}"
    return environment.get_template(template).render(script=script, policy=policy, **values)
