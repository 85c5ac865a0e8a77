"""The time of collectives is that of the spans that they cover, whatever overlaps."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from bench.instruments.communication import Communication, measure_communication, united


@pytest.mark.parametrize(
    ("spans", "length"),
    [
        ([], 0.0),
        ([(1.0, 3.0)], 2.0),
        ([(1.0, 3.0), (2.0, 5.0)], 4.0),
        ([(2.0, 5.0), (1.0, 3.0)], 4.0),
        ([(1.0, 9.0), (2.0, 3.0), (4.0, 5.0)], 8.0),
        ([(1.0, 2.0), (4.0, 6.0)], 3.0),
        ([(1.0, 2.0), (2.0, 3.0)], 2.0),
    ],
)
def test_each_moment_with_a_collective_counts_once(spans, length):
    assert united(spans) == length


def test_the_share_is_that_of_the_time_of_all_calls():
    assert Communication(elapsed_s=4.0, communicating_s=1.0, collectives=2.0).share == 0.25


def test_each_collective_of_a_call_is_seen_and_nothing_else():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        values = torch.ones(64, 64)

        def call():
            values @ values
            dist.all_reduce(values)
            dist.all_reduce(values)

        found = measure_communication(call, 5, lambda: None)
    finally:
        dist.destroy_process_group()
    assert found.collectives == 2
    assert 0 < found.communicating_s <= found.elapsed_s


def test_a_step_without_collectives_communicates_nothing():
    found = measure_communication(lambda: torch.ones(8, 8) @ torch.ones(8, 8), 3, lambda: None)
    assert (found.communicating_s, found.collectives, found.share) == (0.0, 0.0, 0.0)
