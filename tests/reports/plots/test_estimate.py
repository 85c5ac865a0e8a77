"""The figure of a projection over device counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.projection.devices import find_device
from bench.projection.estimate import Question, estimate
from reports.plots.estimate import draw_estimate
from tests.support.projected import FAMILIES, Size


@pytest.fixture(scope="module")
def found():
    question = Question(device=find_device("l4"), batch=64, samples=1e6, device_counts=(1, 2, 4, 64))
    return estimate(FAMILIES["CNN"].subject(Size(2, 16)), question)


def test_it_is_drawn_the_same_each_time_and_names_model_and_device(found):
    plot, again = draw_estimate(found), draw_estimate(found)
    assert plot.svg == again.svg and plot.png.startswith(b"\x89PNG")
    assert "CNN 2 x 16" in plot.title and b"NVIDIA L4" in plot.svg
    assert b"time of the training" in plot.svg


def test_without_data_it_is_the_time_of_a_step_and_one_count_is_no_figure(found):
    steps = replace(found, counts=tuple(replace(own, training_s=None) for own in found.counts))
    assert b"time of a step" in draw_estimate(steps).svg
    assert draw_estimate(replace(found, counts=found.counts[:1])) is None
