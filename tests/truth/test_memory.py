"""Known answers: a spike of known size is seen whole, however short."""

from __future__ import annotations

import mmap

import pytest
import torch

from bench.instruments.memory import PeakResident, resident_bytes
from bench.instruments.tensors import (
    optimizer_state_bytes,
    parameter_counts,
    peak_tensor_bytes,
    storage_bytes,
)

MIB = 2**20


def spike(size: int) -> None:
    block = mmap.mmap(-1, size)
    for start in range(0, size, mmap.PAGESIZE):
        block[start] = 1
    block.close()


@pytest.mark.parametrize("size", [16 * MIB, 64 * MIB])
def test_a_short_spike_of_resident_memory_is_seen_whole(size):
    with PeakResident() as resident:
        spike(size)
    assert resident.growth_bytes == pytest.approx(size, rel=0.02, abs=MIB // 2)
    assert resident.peak_bytes >= resident_bytes()


def test_an_earlier_spike_is_not_counted():
    spike(64 * MIB)
    with PeakResident() as resident:
        pass
    assert resident.growth_bytes < 4 * MIB


def test_the_peak_of_tensors_counts_what_lives_at_once():
    def call() -> None:
        first = torch.zeros(MIB)  # 4 MiB
        second = first + 1  # 8 MiB alive
        del first
        third = second + 1  # still 8
        del second, third

    assert peak_tensor_bytes(call) == 8 * MIB


def test_the_peak_of_tensors_includes_what_was_held_before():
    weight = torch.zeros(MIB)
    assert peak_tensor_bytes(lambda: weight + 1, [weight, weight.view(-1)]) == 8 * MIB


def test_freeing_what_was_there_before_does_not_hide_a_later_peak():
    held = [torch.zeros(4 * MIB)]

    def call() -> None:
        held.clear()
        torch.zeros(MIB)

    assert peak_tensor_bytes(call) == 0  # less is alive than when it began


def test_views_of_one_storage_count_once():
    tensor = torch.zeros(10)
    assert storage_bytes([tensor, tensor[2:], tensor.view(2, 5)]) == 40


@pytest.mark.parametrize(
    ("make", "bytes_each"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), 0),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 4),
        (lambda p: torch.optim.RMSprop(p), 4),
        (lambda p: torch.optim.Adam(p), 8),
    ],
)
def test_optimizers_keep_their_known_bytes_for_each_parameter(make, bytes_each):
    model = torch.nn.Linear(100, 10)
    optimizer = make(model.parameters())
    model(torch.randn(2, 100)).sum().backward()
    optimizer.step()
    assert optimizer_state_bytes(optimizer) == bytes_each * 1010


def test_parameters_and_those_that_are_not_zero_are_counted():
    model = torch.nn.Linear(10, 4)
    with torch.no_grad():
        model.weight[:2] = 0
        model.bias.fill_(1)
    assert parameter_counts(model) == (44, 24)
