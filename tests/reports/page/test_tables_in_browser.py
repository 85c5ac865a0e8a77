"""The page's tables in a real browser: sorted, searched, filtered, columns chosen, taken away as CSV."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.content import gather
from reports.formats.html import render_html
from reports.grids.cell import Entry
from reports.grids.large import MAX_ROWS
from tests.support.opened_page import Opened
from tests.support.synthetic_run import Synthetic, build


def test_a_click_on_a_heading_sorts_by_the_numbers_and_back(opened: Opened) -> None:
    host = opened.table("training")
    steps = opened.column(host, "steps to target")
    host.locator(".heading", has_text="steps to target").first.click()
    ascending = opened.column(host, "steps to target")
    assert ascending == ["450", "480", "600", "630", "> 1,200", "> 1,200"]
    host.locator(".heading", has_text="steps to target").first.click()
    assert opened.column(host, "steps to target") == ascending[::-1] != steps


def test_search_and_filters_narrow_a_table_and_say_how_far(opened: Opened) -> None:
    host = opened.table("inference")
    assert "48 rows" in host.locator(".count").inner_text()
    host.locator("input[type=search]").first.fill("adam onnxruntime")
    assert set(opened.column(host, "optimizer")) == {"adam"}
    assert "8 of 48 rows" in host.locator(".count").inner_text()
    host.locator(".filters").click()
    host.get_by_label("Filter quality loss (pts)").fill("<= 0")
    host.locator(".count", has_text="4 of 48 rows").wait_for()
    assert set(opened.column(host, "compression")) == {"none", "finetune"}
    host.locator("input[type=search]").first.fill("no such row")
    host.get_by_text("No row matches").wait_for()


@pytest.mark.parametrize(
    ("bound", "rows"),
    [
        ("< 0.3 ms", 6),
        ("< 300 µs", 6),
        ("< 300 \u03bcs", 6),  # the Greek letter, which many keyboards have for the micro sign
        ("< 300 us", 6),
        ("> 0.001 s", 18),
        ("> 500", 18),  # as most of the column is written, in µs
        ("= 1.02 ms", 18),
        ("> 1 h", 0),
    ],
)
def test_a_bound_is_read_in_its_unit(opened: Opened, bound: str, rows: int) -> None:
    host = opened.table("inference")
    host.locator(".filters").click()
    box = host.get_by_label("Filter latency")
    box.fill(bound)
    host.locator(".count", has_text=re.compile(f"^{rows} of 48 rows")).wait_for()
    assert box.get_attribute("aria-invalid") == "false"


def test_a_bound_of_another_kind_of_unit_is_said_to_be_wrong(opened: Opened) -> None:
    host = opened.table("inference")
    host.locator(".filters").click()
    box = host.get_by_label("Filter latency")
    box.fill("< 5 MFLOP")
    host.locator(".count", has_text=re.compile("^0 of 48 rows")).wait_for()
    assert box.get_attribute("aria-invalid") == "true"
    assert "as < 40 " in (box.get_attribute("title") or "")


def test_what_all_rows_share_is_searched_and_exported_and_numbers_have_units(
    opened: Opened, tmp_path: Path
) -> None:
    host = opened.table("training")
    host.locator("input[type=search]").first.fill("digits adam")
    assert "2 of 6 rows" in host.locator(".count").inner_text()
    host.locator("input[type=search]").first.fill("")
    with opened.page.expect_download() as download:
        host.locator("button.csv").click()
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and {row["workload"] for row in rows} == {"digits"}
    steps = {row["optimizer"]: (row["steps to target"], row["steps to target [number]"]) for row in rows}
    assert steps["sgd"] == ("> 1,200", "") and steps["adam"] == ("630", "630")
    assert all(float(row["step time [s]"]) == pytest.approx(0.01, rel=1e-3) for row in rows)
    assert "seed [number]" not in rows[0] and "Pareto [number]" not in rows[0]


def test_columns_are_chosen_in_a_menu(opened: Opened) -> None:
    host = opened.table("inference")
    host_of = "document.querySelector('#table-inference ~ [data-table]')"
    visible = f"[...{host_of}.querySelectorAll('.tabulator-col')].filter((each) => each.offsetWidth).length"
    few = opened.page.evaluate(visible)
    assert few <= 16
    host.locator(".menu summary").click()
    host.locator(".menu-list").get_by_label("non-zero").check()
    assert opened.column(host, "non-zero")[0] == "200,000"
    host.locator(".menu-list button", has_text="All").click()
    assert opened.page.evaluate(visible) > few + 10
    host.locator(".menu-list button", has_text="Usual").click()
    assert opened.page.evaluate(visible) == few


def test_a_table_as_long_as_they_come_is_searched_with_few_rows_drawn(browser: Any, tmp_path: Path) -> None:
    store = build(tmp_path / "store", Synthetic(optimizers=("adam",), compressions=("none",)))
    content = gather(store, "run-1", figures=False)
    store.close()
    inference = next(grid for grid in content.grids if grid.name == "inference")
    place = inference.columns.index("latency")
    rows = []
    for number in range(MAX_ROWS):
        row = list(inference.rows[number % 2])
        row[place] = Entry(
            f"{number} µs", f"of row {number}", 1e-6 * number, low=0.9e-6 * number, high=1.1e-6 * number
        )
        rows.append(tuple(row))
    path = tmp_path / "report.html"
    path.write_text(render_html(replace(content, grids=(replace(inference, rows=tuple(rows)),))))
    assert path.stat().st_size < 3_000_000
    opened = Opened(browser, path)
    host = opened.table("inference")
    assert host.locator(".tabulator-row").count() < 100
    host.locator("input[type=search]").first.fill("499")
    assert "15 of 5,000 rows" in host.locator(".count").inner_text()
    host.locator(".heading", has_text="latency").first.click()
    assert opened.column(host, "latency")[:2] == ["499 µs ± 10 %", "1499 µs ± 10 %"]
    opened.page.close()
