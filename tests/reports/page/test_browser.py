"""The page in a real browser: it opens without a network, and does what it offers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from bench.records import Measurement
from tests.support.browser import serious_findings
from tests.support.opened_page import Opened, written
from tests.support.synthetic_run import Synthetic

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
    assert "trained with adam" in text and "the same size" not in text
    card.locator("svg").first.wait_for()
    assert card.bounding_box()["y"] < 300


def test_a_choice_is_highlighted_in_every_table_and_chart(opened: Opened) -> None:
    opened.everything()
    page = opened.page
    page.locator(".card .legend .chip", has_text="int8-static").click()
    assert page.locator("#choose-compression").input_value() == "int8-static"
    for name in ("inference", "tradeoff", "fidelity"):
        chosen = opened.table(name).locator(".tabulator-row.chosen")
        assert chosen.count() and all("int8-static" in text for text in chosen.all_inner_texts())
    faded = page.evaluate(
        """() => [...document.querySelectorAll("[data-chart=quality-latency], [data-chart=quality-cost]")]
            .map((host) => host.querySelectorAll('[fill-opacity="0.12"]').length)"""
    )
    assert len(faded) >= 3 and all(faded)
    page.locator("#clear").click()
    assert not page.locator(".tabulator-row.chosen").count()
    opened.table("training").locator(".tabulator-cell .chip", has_text="adam").first.click()
    assert page.locator("#choose-optimizer").input_value() == "adam"
    assert opened.table("optimizers").locator(".tabulator-row.chosen").count() == 1


def test_a_choice_of_a_card_is_highlighted_as_a_whole(opened: Opened) -> None:
    page = opened.page
    button = page.get_by_label("highlight int8-static on onnxruntime").first
    button.click()
    axes = ("optimizer", "compression", "backend")
    chosen = [page.locator(f"#choose-{axis}").input_value() for axis in axes]
    assert chosen == ["adam", "int8-static", "onnxruntime"]
    assert button.get_attribute("aria-pressed") == "true"
    host = opened.table("inference")
    host.locator("input[type=search]").first.fill("onnxruntime int8-static")
    assert host.locator(".tabulator-row.chosen").count() == 2 < host.locator(".tabulator-row").count()
    button.click()
    assert page.locator("#choose-backend").input_value() == ""


def test_quality_is_drawn_against_the_cost_that_is_chosen(opened: Opened) -> None:
    opened.everything()
    host = opened.page.locator("[data-chart=quality-cost]")
    box = host.get_by_label("Quality against another cost: cost")
    assert box.locator("option").all_inner_texts() == ["compressed size", "peak resident memory"]
    assert host.locator("svg").get_attribute("aria-label") == "compressed size"
    box.select_option(label="peak resident memory")
    assert host.locator("svg").get_attribute("aria-label") == "peak resident memory"


def test_a_record_has_samples_of_each_launch_under_its_median(opened: Opened) -> None:
    host = opened.table("inference")
    host.locator("input[type=search]").first.fill("adam none cpu-eager")
    host.locator(".tabulator-row .open").first.click()
    strip = opened.page.locator("#record .strip").first
    assert strip.locator("circle").count() == 3 * (24 + 1)
    assert "24 of its samples (400)" in strip.inner_text()


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


def test_print_of_a_dark_page_is_black_on_white(browser: Any, report_page: Path) -> None:
    opened = Opened(browser, report_page, scheme="dark")
    opened.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    opened.page.emulate_media(media="print", color_scheme="dark")
    style = opened.page.evaluate(
        "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
    )
    assert style == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
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
    opened.table("inference").locator(".tabulator-row .open").first.click()
    assert opened.page.locator("#record").is_visible()
    serious += serious_findings(opened.page)
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


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
