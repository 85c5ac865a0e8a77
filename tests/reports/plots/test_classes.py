"""The figure of classes: the changes themselves, and of many classes those that change most."""

from __future__ import annotations

import pandas as pd

from reports.plots import classes as plots
from reports.plots.classes import MAX_CLASSES, MAX_ROWS, _most_changed, draw_classes
from tests.support.drawn import Keep, texts, ticks


def classes(count: int) -> pd.DataFrame:
    rows = [
        {"class": f"class {number}", "compression": name, "change_points": (-1.0) ** number * number}
        for name in ("none", "finetune", "int8-static")
        for number in range(count)
    ]
    place = {"workload": "digits", "backend": "cpu-eager", "precision": "fp32", "batch_size": 1}
    return pd.DataFrame(rows).assign(**place)


def test_few_classes_are_all_drawn() -> None:
    drawn = draw_classes(classes(3), "digits")
    assert drawn is not None and "Shown" not in drawn.caption and b"class 0" in drawn.svg


def test_of_many_those_that_change_most_are_drawn_in_their_order() -> None:
    drawn = draw_classes(classes(30), "digits")
    assert drawn is not None and f"{MAX_CLASSES} of 30 classes" in drawn.caption
    assert b"class 9 " not in drawn.svg and b"class 10" in drawn.svg and b"class 29" in drawn.svg
    table = pd.DataFrame({"small": [0.1, -0.2], "large": [0.0, -5.0], "middle": [3.0, None]})
    assert list(_most_changed(table, 2).columns) == ["large", "middle"] and MAX_ROWS >= 10


def test_the_colours_and_the_numbers_are_the_changes(kept: Keep) -> None:
    figures = kept(plots)
    draw_classes(classes(3), "digits")
    axes, bar = figures[0].axes
    (image,) = axes.images
    assert image.get_array().tolist() == [[0.0, -1.0, 2.0]] * 2
    assert image.get_clim() == (-2.0, 2.0) and bar.get_ylabel() == "recall change, points"
    assert texts(axes) == ["0.0", "-1.0", "+2.0"] * 2
    assert ticks(axes) == ["finetune @ cpu-eager", "int8-static @ cpu-eager"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"class {n}" for n in range(3)]
