"""What the page draws of optimizers over workloads and over settings, of trainings that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.content import Content, gather
from reports.formats.html import render_html
from reports.page.charts import charts_data
from tests.support.opened_page import Opened
from tests.support.trainings import BUDGET, TARGET, build_trainings

NEVER = 1e6
NEEDED = {
    **{"digits/adam": (240.0,) * 3, "digits/sgd:lr=0.1": (480.0,) * 3, "digits/sgd:lr=1": (NEVER,) * 3},
    **{"letters/adam": (480.0,) * 3, "letters/sgd:lr=0.1": (240.0,) * 3, "letters/sgd:lr=1": (360.0,) * 3},
    **{f"{workload}/sgd:lr=0.01": (720.0,) * 3 for workload in ("digits", "letters")},
}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    store = build_trainings(tmp_path_factory.mktemp("optimizers"), NEEDED)
    found = gather(store, "run-1", figures=False)
    store.close()
    return found


def test_a_profile_has_the_share_of_workloads_within_so_many_times_the_best(content: Content) -> None:
    found = {row["optimizer"]: row for row in charts_data(content)["profile"]}
    assert found["adam"]["workloads"] == 2 and found["adam"]["measure"] == "time"
    # Adam is the best on digits, and takes twice as long as the best on letters.
    assert found["adam"]["share"] == [0.5, 1, 1]
    assert found["adam"]["tau"] == pytest.approx([1, 2, 4], rel=0.02)
    assert found["adam"]["score"] == pytest.approx(5 / 6, abs=0.01)


def test_sensitivity_has_what_each_rate_needed_and_which_missed(content: Content) -> None:
    rows = charts_data(content)["sensitivity"]
    assert {(row["setting"], row["label"]) for row in rows} == {("lr", "sgd")}
    found: dict[tuple[str, Any], dict[str, Any]] = {(row["workload"], row["value"]): row for row in rows}
    assert found["digits", 0.1]["steps"] == 480 and found["letters", 1]["steps"] == 360
    missed = found["digits", 1]
    assert missed["steps"] is None and missed["budget"] == BUDGET and missed["target"] == TARGET
    assert (missed["reached"], missed["seeds"]) == (0, 3)


def test_a_run_of_one_workload_and_two_rates_has_neither(tmp_path: Path) -> None:
    needed = {"digits/adam": (240.0,), "digits/adam:lr=0.1": (240.0,)}
    store = build_trainings(tmp_path, needed)
    charts = charts_data(gather(store, "run-1", figures=False))
    store.close()
    assert not {"profile", "sensitivity"} & charts.keys()


def test_both_are_drawn_and_fade_what_is_not_chosen(browser: Any, content: Content, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_html(content))
    opened = Opened(browser, path)
    opened.everything()
    profile = opened.page.locator("[data-chart=profile]")
    assert "time to the target" in str(profile.locator("svg").text_content())
    profile.locator(".chip", has_text="adam").click()
    assert profile.locator('path[stroke-opacity="0.12"]').count() == 3
    sensitivity = opened.page.locator("[data-chart=sensitivity]")
    sensitivity.get_by_label("Sensitivity: workload").select_option("digits")
    assert "steps to the target" in str(sensitivity.locator("svg").text_content())
    # These trainings have no final quality.
    sensitivity.get_by_label("Sensitivity: y").select_option("final quality")
    assert "Nothing was measured" in sensitivity.inner_text()
    assert opened.complaints == [] and opened.requests == [path.as_uri()]
    opened.page.close()
