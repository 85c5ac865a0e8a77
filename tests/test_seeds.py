"""What tests and their fixtures draw is the same in every run and in any order."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.fixture(scope="module")
def drawn_once() -> tuple[float, float, float]:
    return draw()


@pytest.mark.parametrize("turn", range(2))
def test_every_test_and_fixture_starts_from_the_same_numbers(turn: int, drawn_once) -> None:
    first = draw()
    assert first == drawn_once == (0.8444218515250481, 0.5488135039273248, pytest.approx(0.49625659))
