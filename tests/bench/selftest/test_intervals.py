"""What intervals are worth is told from pools whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import BenchError
from bench.selftest.intervals import Pool, judge, worth_rows, write_pools


def pool(spread: float, launches: int = 100) -> Pool:
    values = np.exp(np.random.default_rng(5).normal(0, spread, launches))
    return Pool("dense", "infer", tuple(values.tolist()))


def test_independent_launches_of_a_still_machine_hold_every_bar():
    worth = judge(pool(0.03))
    assert worth.faults == ()
    assert worth.spread == pytest.approx(0.03, rel=0.3) and abs(worth.carry_over) < 0.3
    assert 0.02 <= worth.excluding_one <= 0.08 and worth.covering >= 0.93


def test_a_restless_machine_is_told_by_how_wide_its_intervals_are():
    worth = judge(pool(0.15))
    (fault,) = worth.faults
    assert "half-width" in fault and "over 5 %" in fault
    assert "half-width" in worth_rows([worth])[0][-1]


def test_launches_that_follow_the_one_before_are_told():
    drift = np.cumsum(np.random.default_rng(1).normal(0, 0.01, 100))
    assert judge(Pool("net", "step", tuple(np.exp(drift).tolist()))).carry_over > 0.8


def test_too_few_launches_are_refused():
    with pytest.raises(BenchError, match="19 launches are too few"):
        judge(pool(0.1, 19))


def test_every_launch_is_written_so_that_it_can_be_worked_out_again(tmp_path):
    write_pools([pool(0.1, 2)], tmp_path / "pool.csv")
    heading, first, second = (tmp_path / "pool.csv").read_text().splitlines()
    assert heading == "stage,launch,seconds"
    assert first.startswith("dense,1,") and second.startswith("dense,2,")
