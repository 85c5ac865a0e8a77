"""Mutated inputs end in an answer or in one short line; `python -m tests.fuzz` tries many more."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.cases import make_case, prepare
from tests.fuzz.harness import empty_folder, judge
from tests.fuzz.quick_plots import draw_without_files


@pytest.fixture(scope="module")
def valid() -> Iterator[Path]:
    with empty_folder() as folder:
        yield prepare(folder)


@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(rng=st.randoms(use_true_random=False))
def test_a_mutated_input_gets_an_answer_or_one_short_line_and_never_a_traceback(valid, rng: random.Random):
    with empty_folder() as folder, draw_without_files(True):
        case = make_case(rng, valid, folder)
        assert judge(case) == [], case
