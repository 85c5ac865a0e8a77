"""A page in the browser, with all that it asked for and complained of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.content import gather
from reports.formats.html import render_html
from tests.support.synthetic_run import Synthetic, build


def written(folder: Path, made_up: Synthetic) -> Path:
    """Write the page of a made-up run."""
    store = build(folder / "store", made_up)
    path = folder / "report.html"
    path.write_text(render_html(gather(store, "run-1", figures=False)))
    store.close()
    return path


class Opened:
    """A page at a width and in a colour scheme."""

    def __init__(self, browser: Any, path: Path, width: int = 1400, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("console", self._said)
        self.page.goto(path.as_uri())

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def table(self, name: str) -> Any:
        """Return a table by its grid's name, once it is built."""
        self.page.evaluate("name => document.getElementById(`table-${name}`).scrollIntoView()", name)
        host = self.page.locator(f"#table-{name} ~ [data-table]").first
        host.locator(".tabulator-row").first.wait_for()
        return host

    def column(self, host: Any, heading: str) -> list[str]:
        """Return the texts of a column of a table, as far as its rows are drawn."""
        field = host.locator(".tabulator-col", has_text=heading).first.get_attribute("tabulator-field")
        return [
            text.strip()
            for text in host.locator(f'.tabulator-cell[tabulator-field="{field}"]').all_inner_texts()
        ]

    def everything(self) -> None:
        """Scroll through the page, so that every table and chart is made."""
        self.page.evaluate(
            """async () => {
                for (const host of document.querySelectorAll("[data-table], [data-chart]")) {
                    host.scrollIntoView();
                    for (let wait = 0; wait < 3000 && !("ready" in host.dataset); wait += 1)
                        await new Promise((resolve) => setTimeout(resolve, 10));
                }
            }"""
        )
        assert not self.page.locator("[data-table]:not([data-ready]), [data-chart]:not([data-ready])").count()
