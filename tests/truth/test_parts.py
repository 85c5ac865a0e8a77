"""The clock of a call's parts, on work whose time is known."""

from __future__ import annotations

import pytest

from bench.instruments.parts import PartsClock


def nothing() -> None:
    """Stand in for a device that has finished when a call returns."""


def test_each_part_has_the_time_from_its_mark_to_the_next(simulated_clock):
    clock = PartsClock(nothing)
    for part, seconds in (("data", 0.25), ("forward", 1.0), ("backward", 2.0), ("optimizer", 0.5)):
        clock.begin(part)
        simulated_clock.work(seconds)
    assert clock.take() == {"data": 0.25, "forward": 1.0, "backward": 2.0, "optimizer": 0.5}


def test_a_part_that_comes_again_is_added_up_and_a_mark_of_the_running_part_changes_nothing(simulated_clock):
    clock = PartsClock(nothing)
    for part in ("forward", "forward", "backward", "forward", "backward"):
        clock.begin(part)
        simulated_clock.work(1.0)
    assert clock.take() == {"forward": 3.0, "backward": 2.0}


def test_work_that_a_device_still_has_to_do_belongs_to_the_part_that_queued_it(simulated_clock):
    queued: list[float] = []

    def synchronize() -> None:
        while queued:
            simulated_clock.work(queued.pop())

    clock = PartsClock(synchronize)
    for part, seconds in (("forward", 1.0), ("backward", 2.0)):
        clock.begin(part)
        queued.append(seconds)
    assert clock.take() == {"forward": 1.0, "backward": 2.0}


def test_what_was_queued_before_the_first_mark_is_in_no_part(simulated_clock):
    clock = PartsClock(lambda: simulated_clock.work(1.0))
    clock.begin("data")
    assert clock.take() == {"data": 1.0}


def test_time_between_two_calls_is_in_neither(simulated_clock):
    clock = PartsClock(nothing)
    totals = []
    for _ in range(2):
        clock.begin("data")
        simulated_clock.work(0.5)
        totals.append(clock.take())
        simulated_clock.work(10.0)
    assert totals == [{"data": 0.5}] * 2
    assert clock.take() == {}


def test_parts_add_up_to_all_that_passed(simulated_clock):
    clock = PartsClock(lambda: simulated_clock.work(0.001))
    clock.begin("data")
    start_s = simulated_clock.now_s
    for part in ("forward", "backward", "optimizer", "data") * 3:
        simulated_clock.work(0.01)
        clock.begin(part)
    assert sum(clock.take().values()) == pytest.approx(simulated_clock.now_s - start_s)
