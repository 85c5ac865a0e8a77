"""Ceilings against products and copies whose time is known, and what must hold on any machine."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from bench.instruments import ceilings, processor
from bench.instruments.ceilings import measure_ceilings
from bench.instruments.products import Maker, makers


def test_every_format_has_a_rate_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "SIZES", (64,))
    monkeypatch.setattr(ceilings, "stream_bytes", lambda: 2**20)
    found = measure_ceilings(torch.device("cpu"), seconds=0.01)
    assert (found.operations_per_s["fp32"] or 0) > 0 and (found.bytes_per_s or 0) > 0
    assert set(found.reasons) == {name for name, value in found.operations_per_s.items() if value is None}


def test_the_ceiling_is_the_best_rate_over_sizes_at_two_operations_for_each_product(simulated_clock) -> None:
    operations_per_s = {256: 4e11, 512: 9e11, 1024: 1e12, 2048: 7e11}

    def make(size: int, device: torch.device) -> Callable[[], object]:
        return lambda: simulated_clock.work(2 * size**3 / operations_per_s[min(size, 2048)])

    assert ceilings._best_product(make, torch.device("cpu"), 0.3) == pytest.approx(1e12, rel=1e-3)


def test_the_ceiling_is_the_best_over_libraries_and_one_that_cannot_multiply_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, simulated_clock
) -> None:
    def multiplying_at(operations_per_s: float) -> Maker:
        return lambda size, device: lambda: simulated_clock.work(2 * size**3 / operations_per_s)

    def absent(size: int, device: torch.device) -> Callable[[], object]:
        raise ImportError("no such library")

    monkeypatch.setattr(ceilings, "SIZES", (512, 1024))
    monkeypatch.setattr(ceilings, "_bandwidth", lambda device, seconds: 1e10)
    every = {"fp32": (multiplying_at(2e11), absent, multiplying_at(5e11)), "fp16": (absent,)}
    monkeypatch.setattr(ceilings, "makers", lambda device: every)
    found = measure_ceilings(torch.device("cpu"), seconds=0.01)
    assert found.operations_per_s["fp32"] == pytest.approx(5e11, rel=1e-3)
    assert found.operations_per_s["fp16"] is None and found.reasons["fp16"] == "no such library"


def test_each_library_multiplies_the_same_matrices_on_a_cpu() -> None:
    every = makers(torch.device("cpu"))
    assert len(every["fp32"]) == 3 and "tf32" not in every
    for make in every["fp32"]:
        torch.manual_seed(0)
        first, second = torch.randn(64, 64).double(), torch.randn(64, 64).double()
        torch.manual_seed(0)
        made = make(64, torch.device("cpu"))()
        result = torch.as_tensor(made[0] if isinstance(made, list) else made).double()
        if result.ndim == 4:  # weights come first: every pixel's channels are multiplied by them
            expected = torch.einsum("oc,cp->op", first, second.reshape(64, 64)).reshape(result.shape)
        else:
            expected = first @ second
        assert torch.allclose(result, expected, atol=1e-4)


def test_an_accelerator_is_waited_for_once_for_many_products(
    monkeypatch: pytest.MonkeyPatch, simulated_clock
) -> None:
    done: list[str] = []
    monkeypatch.setattr(ceilings, "synchronize", lambda device: done.append("wait"))

    def product() -> None:
        done.append("product")
        simulated_clock.work(1e-4)

    rate = ceilings._rate(product, 1.0, torch.device("meta"), seconds=0.01)
    assert done.count("product") == ceilings.QUEUED_CALLS * done.count("wait")
    assert rate == pytest.approx(1e4)  # one unit of work for each product, of which each takes 0.1 ms


def test_a_size_too_large_for_the_memory_ends_the_search_with_what_was_found(
    monkeypatch: pytest.MonkeyPatch, simulated_clock
) -> None:
    def make(size: int, device: torch.device) -> Callable[[], object]:
        if size > 256:
            raise torch.OutOfMemoryError("out of memory")
        return lambda: simulated_clock.work(1e-4)

    assert ceilings._best_product(make, torch.device("cpu"), 0.01) > 0
    monkeypatch.setattr(ceilings, "SIZES", (512,))
    with pytest.raises(torch.OutOfMemoryError):
        ceilings._best_product(make, torch.device("cpu"), 0.01)


def test_samples_that_other_work_slowed_do_not_lower_a_ceiling(simulated_clock) -> None:
    times_s = itertools.cycle([0.03, 0.02, 0.02, 0.03, 0.03])
    rate = ceilings._rate(lambda: simulated_clock.work(next(times_s)), 1.0, torch.device("cpu"), seconds=1)
    assert rate == pytest.approx(1 / 0.02)


@pytest.mark.parametrize(("copying_s", "reading_s", "best"), [(0.1, 0.04, 1 / 0.04), (0.1, 0.08, 2 / 0.1)])
def test_the_memorys_speed_is_that_of_a_copy_or_of_a_read_alone(
    monkeypatch: pytest.MonkeyPatch, copying_s: float, reading_s: float, best: float
) -> None:
    size = 2**20
    monkeypatch.setattr(ceilings, "stream_bytes", lambda: size)
    took = iter([copying_s, reading_s])

    def rate(call: Callable[[], object], work: float, *_: object) -> float:
        call()
        return work / next(took)

    monkeypatch.setattr(ceilings, "_rate", rate)
    assert ceilings._bandwidth(torch.device("cpu"), 0.01) == pytest.approx(best * size)


def test_a_copy_is_of_more_than_any_cache_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ceilings.stream_bytes() >= 2 * processor.largest_cache_bytes()
    for caches, size in (({"L1 data": "48K", "L3 unified": "307200K"}, 600 * 2**20), ({}, 256 * 2**20)):
        monkeypatch.setattr(processor, "_caches", lambda found=caches: found)
        assert ceilings.stream_bytes() == size
