"""An open load against servers whose times are known: waits count from when a request was due."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from bench.instruments.request_load import (
    Arrival,
    Census,
    Goodput,
    OneAtATime,
    ServedLoad,
    ServedRequest,
    ThreadedArrivals,
    goodput,
    plan_requests,
    serve_requests,
)


class Simulated:
    """A server of which each step takes known seconds of a clock of its own; all requests share a step.

    With `places` only so many are worked on at a time.
    """

    def __init__(self, step_s: float, places: int = 10**6) -> None:
        self.now_s, self.step_s, self.places = 0.0, step_s, places
        self.left: dict[object, int] = {}

    def submit(self, prompt: torch.Tensor, tokens: int) -> object:
        handle = object()
        self.left[handle] = tokens
        return handle

    def unfinished(self) -> bool:
        return bool(self.left)

    def step(self, handles: Sequence[object]) -> list[list[int]]:
        self.now_s += self.step_s
        at_work = list(self.left)[: self.places]
        for handle in at_work:
            self.left[handle] -= 1
            if not self.left[handle]:
                del self.left[handle]
        return [[7] if handle in at_work else [] for handle in handles]


class Counting:
    """An engine that counts."""

    def stream(self, prompts: torch.Tensor, tokens: int) -> Any:
        for number in range(tokens):
            yield [[number]]

    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        raise NotImplementedError

    def cache_bytes_per_token(self) -> None:
        return None


class AtTheDoor:
    """Sees requests as they become due by a simulated server's clock, or when it looks, between two steps."""

    def __init__(self, server: Simulated, planned: Sequence[Arrival], *, looks: bool) -> None:
        self.server, self.due_s, self.looks = server, deque(entry.due_s for entry in planned), looks

    def now_s(self) -> float:
        return self.server.now_s

    def wait(self) -> None:
        self.server.now_s = max(self.server.now_s, self.due_s[0])

    def seen(self) -> list[float]:
        here = []
        while self.due_s and self.due_s[0] <= self.server.now_s:
            here.append(self.due_s.popleft())
        return [self.server.now_s for _ in here] if self.looks else here


def load_on(server: Any, planned: Sequence[Arrival], *, looks: bool = False) -> ServedLoad:
    prompts = [torch.zeros(entry.prompt) for entry in planned]
    return serve_requests(server, AtTheDoor(server, planned, looks=looks), planned, prompts)


def served_by(server: Any, planned: Sequence[Arrival]) -> Sequence[ServedRequest]:
    return load_on(server, planned).requests


def test_first_and_later_tokens_of_a_request_take_the_steps_that_they_take() -> None:
    (found,) = served_by(Simulated(0.25), [Arrival(1.0, 4, 5)])
    assert (found.ttft_s, found.tpot_s, found.total_s, found.tokens) == pytest.approx((0.25, 0.25, 1.25, 5))


def test_a_request_that_a_busy_server_took_up_late_has_waited_since_it_was_due() -> None:
    """Clocked from when it was sent, as a closed loop does, the wait would not show."""
    one, two = served_by(Simulated(1.0, places=1), [Arrival(0.0, 4, 3), Arrival(0.1, 4, 3)])
    assert (one.ttft_s, one.total_s) == pytest.approx((1.0, 3.0))
    assert (two.ttft_s, two.total_s) == pytest.approx((3.9, 5.9))
    assert two.seen_s == pytest.approx(0.1)


def test_goodput_counts_requests_within_both_bounds_over_all_seconds() -> None:
    planned = [Arrival(0.0, 4, 3), Arrival(0.5, 4, 3), Arrival(100.0, 4, 1)]
    load = load_on(Simulated(1.0, places=1), planned)
    found = load.requests
    assert [request.ttft_s for request in found] == pytest.approx([1.0, 3.5, 1.0])
    assert found[2].tpot_s is None
    assert goodput(load, 2.0, 1.5).good_per_s == pytest.approx(2 / 101)
    assert goodput(load, 2.0, 1.5).good_share == pytest.approx(2 / 3)
    assert goodput(load, 9.0, 0.9).good_share == pytest.approx(1 / 3)  # the one without a later token


def test_the_number_in_the_system_is_counted_as_requests_come_and_go() -> None:
    census = Census()
    assert census.mean() == 0
    census.enter(1.0)
    census.enter(3.0)
    census.leave(4.0, 2)
    census.enter(6.0)
    census.leave(10.0, 1)
    # None for 1 s, one for 2 s, two for 1 s, none for 2 s, one for 4 s.
    assert census.mean() == pytest.approx((2 * 1 + 1 * 2 + 4 * 1) / 10)


def test_littles_law_holds_for_an_open_load_and_not_for_a_load_that_comes_late() -> None:
    planned = plan_requests(2.0, 500, (4, 16), (8, 64), seed=1)
    found = goodput(load_on(Simulated(0.01), planned), 1.0, 1.0)
    assert found.in_system == pytest.approx(found.by_littles_law, rel=0.02) and found.fault == ""
    assert found.rate_per_s == pytest.approx(2.0, rel=0.15)
    # Whoever looks only between two steps, each half as long as a request, sees them late.
    short = plan_requests(2.0, 500, (4, 4), (2, 2))
    late = goodput(load_on(Simulated(1.0), short, looks=True), 1.0, 1.0)
    assert late.in_system < 0.9 * late.by_littles_law
    assert "by Little's law" in late.fault
    assert Goodput(1, 1, 1, 1.019, 1.0).fault == "" and Goodput(1, 1, 1, 0.97, 1.0).fault


def test_wrong_times_of_requests_break_littles_law() -> None:
    """A record that ends a request too early: the number in the system does not come from it."""
    load = load_on(Simulated(0.01), plan_requests(2.0, 500, (4, 16), (8, 64), seed=1))
    for request in load.requests[:-1]:
        request.end_s -= 0.1 * request.total_s
    found = goodput(load, 1.0, 1.0)
    assert found.in_system > 1.05 * found.by_littles_law and "their times are" in found.fault


def test_a_long_queue_does_not_hide_that_requests_came_late() -> None:
    """Late by 0.5 s on average, of minutes that they take: Little's law holds, but the load is not open."""
    planned = plan_requests(1.0, 60, (4, 4), (20, 20))
    found = goodput(load_on(Simulated(1.0, places=1), planned, looks=True), 1.0, 1.0)
    assert found.in_system == pytest.approx(found.by_littles_law, rel=0.02)
    assert found.late == pytest.approx(0.5, abs=0.1)
    assert "did not come as planned" in found.fault
    assert goodput(load_on(Simulated(1.0, places=1), planned), 1.0, 1.0).fault == ""


def test_a_queue_with_one_server_waits_as_pollaczek_and_khinchine_say() -> None:
    """Requests of one length: the mean wait is load / (2 (1 - load)) services."""
    tokens, step_s, load = 10, 0.01, 0.7
    planned = plan_requests(load / (tokens * step_s), 20_000, (1, 1), (tokens, tokens), seed=2)
    found = served_by(Simulated(step_s, places=1), planned)
    service_s = tokens * step_s
    mean_s = sum(request.total_s for request in found) / len(found)
    # Half a step more: a request that comes in the middle of one waits for its end.
    expected_s = service_s * (1 + load / (2 * (1 - load)))
    assert mean_s == pytest.approx(expected_s, rel=0.1)


def test_a_thread_sees_requests_no_earlier_than_they_are_due_and_all_of_them() -> None:
    planned = plan_requests(400.0, 20, (1, 1), (1, 2), seed=5)
    found = serve_requests(
        OneAtATime(Counting()), ThreadedArrivals(planned), planned, [torch.zeros(1)] * len(planned)
    ).requests
    assert all(request.seen_s >= request.planned.due_s for request in found)
    assert all(
        request.first_s >= request.seen_s and request.tokens == request.planned.new for request in found
    )


def test_plans_are_the_same_for_a_seed_and_lengths_within_their_bounds() -> None:
    planned = plan_requests(5.0, 2000, (4, 16), (1, 3), seed=3)
    assert planned == plan_requests(5.0, 2000, (4, 16), (1, 3), seed=3)
    assert planned != plan_requests(5.0, 2000, (4, 16), (1, 3), seed=4)
    assert {entry.prompt for entry in planned} == set(range(4, 17))
    assert {entry.new for entry in planned} == {1, 2, 3}
    assert planned[-1].due_s == pytest.approx(2000 / 5.0, rel=0.1)


def test_an_engine_without_a_queue_serves_one_text_after_the_other() -> None:
    server = OneAtATime(Counting())
    one, two = server.submit(torch.zeros(2), 2), server.submit(torch.zeros(2), 1)
    steps = [server.step([one, two]) for _ in range(3)]
    assert steps == [[[0], []], [[1], []], [[], [0]]] and not server.unfinished()


def test_a_server_that_ends_requests_early_is_refused() -> None:
    class Ends(Simulated):
        def unfinished(self) -> bool:
            return self.now_s < 0.02

    with pytest.raises(ValueError, match="ended 1 requests before their last token"):
        served_by(Ends(0.01), [Arrival(0.0, 4, 5)])
