"""Ceilings against what must hold on any machine, and against what comes to mind first."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest
import torch

from bench.instruments import ceilings
from bench.instruments.ceilings import measure_ceilings


def test_a_product_that_is_timed_by_itself_is_under_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "SIZES", (256,))
    monkeypatch.setattr(ceilings, "STREAM_BYTES", 2**26)
    found = measure_ceilings(torch.device("cpu"), seconds=0.1)
    rate = found.operations_per_s["fp32"]
    assert rate is not None
    left, right = torch.randn(256, 256), torch.randn(256, 256)
    began = time.perf_counter()
    for _ in range(20):
        torch.mm(left, right)
    achieved = 20 * 2 * 256**3 / (time.perf_counter() - began)
    # A wrong count is wrong by a factor of 2 or 256; a neighbour may take a third of the clock.
    assert achieved < 1.6 * rate
    assert found.bytes_per_s is not None
    assert set(found.reasons) == {name for name, value in found.operations_per_s.items() if value is None}


def test_an_accelerator_is_waited_for_once_for_many_products(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(ceilings, "synchronize", lambda device: done.append("wait"))

    def product() -> None:
        done.append("product")
        time.sleep(1e-4)

    rate = ceilings._rate(product, 1.0, torch.device("meta"), seconds=0.01)
    assert done.count("product") == ceilings.QUEUED_CALLS * done.count("wait")
    assert rate < 1e4  # one unit of work for each product, of which each takes 0.1 ms or more


def test_a_size_too_large_for_the_memory_ends_the_search_with_what_was_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make(size: int, device: torch.device) -> Callable[[], object]:
        if size > 256:
            raise torch.OutOfMemoryError("out of memory")
        return lambda: time.sleep(1e-4)

    assert ceilings._best_product(make, torch.device("cpu"), 0.01) > 0
    monkeypatch.setattr(ceilings, "SIZES", (512,))
    with pytest.raises(torch.OutOfMemoryError):
        ceilings._best_product(make, torch.device("cpu"), 0.01)


def copied_bytes_per_s(size: int) -> float:
    source, target = torch.ones(size, dtype=torch.uint8), torch.empty(size, dtype=torch.uint8)
    durations = []
    for _ in range(200):
        began = time.perf_counter()
        target.copy_(source)
        durations.append(time.perf_counter() - began)
    return 2 * size / median(durations[100:])


def test_a_copy_that_a_cache_holds_says_nothing_of_memory() -> None:
    assert ceilings.STREAM_BYTES >= 2**28  # beyond the last cache of any machine that is known
    naive = [copied_bytes_per_s(2**18) for _ in range(3)]
    memory = ceilings._bandwidth(torch.device("cpu"), 0.2)
    assert max(naive) > 1.3 * memory
