"""The page in a real browser: it opens without a network, and does what it offers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.records import Measurement
from reports.content import gather
from reports.formats.html import render_html
from reports.grids.cell import Entry
from reports.grids.large import MAX_ROWS
from tests.support.browser import serious_findings
from tests.support.synthetic_run import Synthetic, build

HTML = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
WORKLOADS = (
    "<script>alert(3)<!--",
    "\"'`&amp;",
    "日本\U0001f600",
    "=cmd()",
    "\x1b[31mred",
    "n" * 300,
    "None",
    "NaN",
)
CLASSES = (HTML, "=1+1", "shirt")


def written(folder: Path, made_up: Synthetic) -> Path:
    store = build(folder / "store", made_up)
    path = folder / "report.html"
    path.write_text(render_html(gather(store, "run-1", figures=False)))
    store.close()
    return path


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made_up = Synthetic(seeds=(0, 1), invalid=("momentum/0/int8-static@onnxruntime",))
    return written(tmp_path_factory.mktemp("page"), made_up)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recalls = tuple(Measurement("class_recall", 0.9, qualifier=name) for name in CLASSES)
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none", "int8-static"),
        workloads=WORKLOADS,
        notes=(HTML, *WORKLOADS),
        skip_reason=HTML,
        measured={"evaluate": recalls},
    )
    return written(tmp_path_factory.mktemp("hostile"), made_up)


class Opened:
    """A page in the browser, with all that it asked for and complained of."""

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


@pytest.fixture
def opened(browser: Any, report_page: Path) -> Iterator[Opened]:
    opened = Opened(browser, report_page)
    yield opened
    opened.page.close()
    assert opened.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_page_loads_without_a_network_and_without_a_complaint(
    browser: Any, report_page: Path, width: int, scheme: str
) -> None:
    opened = Opened(browser, report_page, width, scheme)
    opened.everything()
    assert opened.requests == [report_page.as_uri()]
    assert opened.complaints == []
    wide = opened.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, "the page scrolls sideways"
    ids = opened.page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))
    assert not opened.page.locator("text=Nothing was measured").count()
    opened.page.close()


def test_first_screen_has_the_choices_and_one_picture(opened: Opened) -> None:
    card = opened.page.locator(".card").first
    text = card.inner_text()
    assert "momentum" in text and "int8-static on onnxruntime (fp32)" in text
    assert "launches" in text and "seeds" in text and "× the speed" in text and "Left out" in text
    card.locator("svg").first.wait_for()
    assert card.bounding_box()["y"] < 300


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


def test_a_choice_is_highlighted_in_every_table_and_chart(opened: Opened) -> None:
    opened.everything()
    page = opened.page
    page.locator(".card .legend .chip", has_text="int8-static").click()
    assert page.locator("#choose-compression").input_value() == "int8-static"
    for name in ("inference", "tradeoff", "fidelity"):
        chosen = opened.table(name).locator(".tabulator-row.chosen")
        assert chosen.count() and all("int8-static" in text for text in chosen.all_inner_texts())
    faded = page.evaluate(
        """() => [...document.querySelectorAll("[data-chart=quality-latency], [data-chart=quality-size]")]
            .map((host) => host.querySelectorAll('[fill-opacity="0.12"]').length)"""
    )
    assert len(faded) >= 3 and all(faded)
    page.locator("#clear").click()
    assert not page.locator(".tabulator-row.chosen").count()
    opened.table("training").locator(".tabulator-cell .chip", has_text="adam").first.click()
    assert page.locator("#choose-optimizer").input_value() == "adam"
    assert opened.table("optimizers").locator(".tabulator-row.chosen").count() == 1


def test_a_class_is_highlighted_in_its_column(opened: Opened) -> None:
    host = opened.table("classes")
    opened.page.locator("#choose-class").select_option("shirt")
    assert host.locator(".heading.chosen-class").all_inner_texts() == ["shirt"]
    assert host.locator(".field.chosen-class").count()


def test_a_row_opens_its_record_with_the_command_that_repeats_it(opened: Opened) -> None:
    host = opened.table("inference")
    host.locator("input[type=search]").first.fill("momentum int8-static onnxruntime")
    host.locator(".tabulator-row .open").last.click()
    dialog = opened.page.locator("#record")
    text = dialog.inner_text()
    assert "python -m bench run --matrix quick --filter workload=digits,optimizer=momentum" in text
    assert "bench show " in text and "launches" in text and "95 % interval" in text
    assert dialog.locator(".strip circle").count() == 3
    opened.page.keyboard.press("Escape")
    assert not dialog.is_visible()
    opened.page.locator(".card button.record").first.click()
    assert "train" in dialog.inner_text() and dialog.is_visible()


def test_a_point_opens_its_record(opened: Opened) -> None:
    svg = opened.page.locator(".card svg.opens").first
    mark = svg.locator('[data-mark="dot"] path').first
    box = mark.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "infer" in opened.page.locator("#record").inner_text()


def test_theme_follows_the_system_and_the_button(browser: Any, report_page: Path) -> None:
    opened = Opened(browser, report_page, scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = opened.page.evaluate(colour)
    opened.page.locator("#theme").click()
    light = opened.page.evaluate(colour)
    assert (dark, light) == ("rgb(21, 25, 30)", "rgb(255, 255, 255)")
    opened.page.close()


def test_print_has_every_table_without_controls(opened: Opened) -> None:
    assert len(opened.page.pdf()) > 20_000
    opened.page.emulate_media(media="print")
    assert opened.page.locator(".printed").count() > 5
    assert not opened.page.locator(".toolbar:visible, #theme:visible, .bar:visible").count()
    printed = opened.page.locator(".printed", has_text="steps to target").first
    printed.wait_for()
    assert "momentum" in printed.inner_text()
    assert not opened.page.locator("[data-chart]:not([data-ready])").count()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (400, "light")])
def test_axe_has_no_serious_finding(browser: Any, report_page: Path, width: int, scheme: str) -> None:
    opened = Opened(browser, report_page, width, scheme)
    opened.everything()
    serious = serious_findings(opened.page)
    opened.page.close()
    assert serious == []


def test_hostile_names_act_nowhere(browser: Any, hostile_page: Path, tmp_path: Path) -> None:
    opened = Opened(browser, hostile_page)
    opened.everything()
    page = opened.page
    assert page.locator("main img, main script").count() == 0
    assert r"\x1b[31mred" in page.locator(".card h2").all_inner_texts()
    assert HTML in opened.table("classes").inner_text()
    host = opened.table("inference")
    host.locator(".menu summary").click()
    host.locator(".menu-list button", has_text="All").click()
    with page.expect_download() as download:
        host.locator("button.csv").click()
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(WORKLOADS) * 4
    assert {row["workload"] for row in rows} >= {"'=cmd()", *(set(WORKLOADS) - {"=cmd()", "\x1b[31mred"})}
    for row in rows:
        for value in filter(None, row.values()):
            assert is_number(value) or value[0] not in "=+-@\t\r"
    host.locator(".tabulator-row .open").first.click()
    assert page.locator("#record").is_visible()
    assert opened.complaints == [] and opened.requests == [hostile_page.as_uri()]
    page.close()


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


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
