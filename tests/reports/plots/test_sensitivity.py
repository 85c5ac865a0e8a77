"""The figures of sensitivity: what was tested, in its place, and at most what a person can read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest

from reports.frames.sensitivity import _POINTS, _RANGES, BATCH_SIZE, RATE
from reports.plots import sensitivity
from tests.support.drawn import Keep, legend, lines

AXES = {"workload": "digits", "optimizer": "sgd", "train_batch_size": 128, "devices": 1}
STEPS = {0.01: 500.0, 0.1: 200.0, 1.0: None}
"""Rate → steps to the target, None where it was missed within the budget of 1,000."""


def frames(places: Iterable[dict[str, Any]], setting: str = RATE) -> tuple[pd.DataFrame, pd.DataFrame]:
    ranges, points = [], []
    for place in places:
        group = {**AXES, "setting": setting, **place}
        ranges.append(
            {**group, "values": 3, "decades": 1.0, "most_decades": 2.0, "steps_to_target": 200.0, **place}
        )
        points += [
            {**group, "value": value, "steps_to_target": steps, "quality": 0.95 if steps else 0.5}
            | {"samples_to_target": steps and steps * value, "budget_steps": 1000, "target": 0.9}
            for value, steps in STEPS.items()
        ]
    found = (pd.DataFrame(ranges, columns=list(_RANGES)), pd.DataFrame(points, columns=list(_POINTS)))
    return found[0].astype({"train_batch_size": "Int64"}), found[1].astype({"train_batch_size": "Int64"})


def test_steps_and_quality_stand_over_the_rate_and_what_missed_is_hollow(kept: Keep) -> None:
    figures = kept(sensitivity)
    sensitivity.draw_sensitivity(*frames([{}]), "digits", RATE)
    left, right = figures[0].axes
    (steps,) = (own for label, own in lines(left, 3).items() if "decades" in label)
    assert steps[:2] == [(0.01, 500.0), (0.1, 200.0)] and math.isnan(steps[2][1])
    (qualities,) = lines(right, 3).values()
    assert qualities == [(0.01, 0.95), (0.1, 0.95), (1.0, 0.5)]
    (hollow,) = (line for line in left.get_lines() if line.get_markerfacecolor() == "white")
    assert hollow.get_xydata().tolist() == [[1.0, 1000.0]]
    assert legend(figures[0]) == ["sgd  1.0 to 2.0 decades"]
    assert (left.get_xlabel(), left.get_ylabel()) == ("learning rate", "steps to target")
    assert right.get_ylabel() == "final quality"
    assert any(line.get_ydata()[0] == 0.9 for line in right.get_lines())


def test_batch_sizes_have_the_trade_off_and_the_critical_one(kept: Keep) -> None:
    critical = {"critical_batch": 64.0, "min_steps": 200.0, "min_samples": 12800.0}
    figures = kept(sensitivity)
    sensitivity.draw_sensitivity(*frames([critical], BATCH_SIZE), "digits", BATCH_SIZE)
    left, right = figures[0].axes
    (fitted,) = lines(left, 60).values()
    assert all(steps == pytest.approx(200 + 12800 / size) for size, steps in fitted)
    (samples,) = lines(right, 60).values()
    assert all(needed == pytest.approx(200 * size + 12800) for size, needed in samples)
    assert legend(figures[0]) == ["sgd  critical size 64.0"]


def test_of_many_optimizers_the_quickest_are_drawn(kept: Keep) -> None:
    many = [{"optimizer": f"sgd:momentum=0.{n}", "steps_to_target": 1000.0 - n} for n in range(10, 50)]
    many[0]["steps_to_target"] = None
    figures = kept(sensitivity)
    plot = sensitivity.draw_sensitivity(*frames(many), "digits", RATE)
    assert plot is not None
    most = sensitivity.MAX_LINES
    assert plot.caption.endswith(f" The {most} quickest to the target, in steps, of 40 optimizers are shown.")
    assert [text.split()[0] for text in legend(figures[0])] == [
        f"sgd:momentum=0.{n}" for n in range(50 - most, 50)
    ]


def test_of_many_workloads_the_first_have_a_figure(kept: Keep) -> None:
    kept(sensitivity)
    most = sensitivity.MAX_WORKLOADS
    plots = list(sensitivity.draw_sensitivities(*frames({"workload": f"w{n}"} for n in range(most + 3))))
    assert [plot.name for plot in plots] == [f"sensitivity-lr-w{n}" for n in range(most)]
    assert all(
        plot.caption.endswith(f" The {most} first of {most + 3} workloads are shown.") for plot in plots
    )
    (few,) = sensitivity.draw_sensitivities(*frames([{}]))
    assert "are shown" not in few.caption
