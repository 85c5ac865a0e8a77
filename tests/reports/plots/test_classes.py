"""The figure of classes: of many, those whose recall changes most."""

from __future__ import annotations

import pandas as pd

from reports.plots.classes import MAX_CLASSES, MAX_ROWS, _most_changed, draw_classes


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
