"""A real browser for pages, and what axe finds in one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu")


def browser_path() -> str | None:
    """Return the browser of this machine; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start a browser without a window; skips where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'"
    )
    path = browser_path()
    if path is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def serious_findings(page: Any) -> list[tuple[str, str, int]]:
    """Return what axe finds serious or critical: the rule, the first place, and how many places."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        (entry["id"], entry["nodes"][0]["html"][:300], len(entry["nodes"]))
        for entry in found
        if entry["impact"] in ("serious", "critical")
    ]
