"""The pages of `bench ui` in a real browser: nothing from elsewhere, no complaint, fit for a phone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.browser import serious_findings
from tests.support.served_store import TOKEN

PATHS = (
    *("/", "/runs/run-1?sort=latency_s", "/runs/run-hostile", "/compare?run=run-1&run=run-2", "/history"),
    "/history?metric=latency_s&cell=digits/adam/none@cpu-eager",
)


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (400, "light")])
def test_pages_ask_nobody_else_and_have_no_serious_finding(
    browser: Any, address: str, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(f"{address}/?token={TOKEN}")
    findings = {}
    for path in PATHS:
        page.goto(address + path)
        findings[path] = serious_findings(page)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
    page.close()
    assert not any(findings.values()), findings
    assert complaints == []
    assert all(url.startswith((address, "data:")) for url in asked)


def test_a_comparison_is_searched_filtered_and_sorted_by_its_changes(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/?token={TOKEN}")
    page.goto(f"{address}/compare?run=run-1&run=run-2")
    host = page.locator("[data-table]").nth(1)
    host.locator(".tabulator-row").first.wait_for()
    host.locator(".filters").click()
    host.get_by_label("Filter verdict").fill("slower")
    host.locator(".count", has_text=re.compile("^1 of ")).wait_for()
    assert "dense@cpu-eager" in host.locator(".tabulator-row").inner_text()
    host.get_by_label("Filter verdict").fill("")
    host.get_by_label("Filter change").fill("> 1.5")
    host.locator(".count", has_text=re.compile(r"^\d of ")).wait_for()
    assert "latency" in host.locator(".tabulator-row").first.inner_text()
    host.get_by_label("Filter change").fill("")
    host.locator(".heading", has_text="change").click()
    host.locator(".heading", has_text="change").click()
    assert "dense@cpu-eager" in host.locator(".tabulator-row").first.inner_text()
    host.locator(".tabulator-row .open").first.click()
    assert "slower" in page.locator("#record").inner_text()
    page.close()


def test_chosen_runs_are_compared_and_a_record_is_reached_by_clicks(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/?token={TOKEN}")
    for run in ("run-1", "run-2"):
        page.get_by_label(f"compare {run}").check()
    page.get_by_role("button", name="Compare").click()
    assert "slower" in page.content()
    page.goto(address)
    page.get_by_role("link", name="run-1").click()
    page.get_by_label("backend").select_option("cpu-eager")
    page.get_by_role("button", name="Show").click()
    page.locator("tbody a").first.click()
    assert "Measured again by" in page.content()
    page.close()
