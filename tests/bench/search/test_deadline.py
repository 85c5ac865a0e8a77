"""A block is ended at its time, once, and nothing is left behind by one that was quicker."""

from __future__ import annotations

import signal
import threading

import pytest

from bench.search.deadline import BudgetSpent, ending_after


def test_a_block_that_takes_too_long_is_ended() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(BudgetSpent), ending_after(0.05):
        threading.Event().wait(60)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_block_that_is_quicker_goes_on() -> None:
    before, threads = signal.getsignal(signal.SIGUSR1), threading.active_count()
    with ending_after(60):
        pass
    assert signal.getsignal(signal.SIGUSR1) is before and threading.active_count() == threads


def test_what_ends_the_block_is_not_ended_again() -> None:
    ended = []
    with pytest.raises(BudgetSpent), ending_after(0.01):
        try:
            threading.Event().wait(60)
        finally:
            threading.Event().wait(0.1)
            ended.append(True)
    assert ended


def test_without_time_nothing_is_begun() -> None:
    with pytest.raises(BudgetSpent), ending_after(0):
        pytest.fail("it was begun")
