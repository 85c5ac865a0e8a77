"""The reference product is timed once the process's own threads have come to rest."""

from __future__ import annotations

import pytest

from bench.instruments import speed


class Clock:
    """Time that passes in sleep alone, in which threads use `spinning_s` of the CPU before they rest."""

    def __init__(self, spinning_s: float) -> None:
        self.now_s = self.used_s = 0.0
        self.spinning_s = spinning_s

    def perf_counter(self) -> float:
        return self.now_s

    def process_time(self) -> float:
        return self.used_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.used_s = min(self.now_s, self.spinning_s)


@pytest.mark.parametrize("spinning_s", [0.0, 0.03, 0.1, 0.4])
def test_rest_lasts_until_threads_no_longer_use_the_cpu(
    monkeypatch: pytest.MonkeyPatch, spinning_s: float
) -> None:
    clock = Clock(spinning_s)
    monkeypatch.setattr(speed, "time", clock)
    speed.rest(most_s=60)
    assert spinning_s <= clock.now_s <= spinning_s + 0.05


def test_rest_ends_though_a_thread_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1e9)
    monkeypatch.setattr(speed, "time", clock)
    speed.rest(most_s=0.5)
    assert 0.5 <= clock.now_s < 0.6


def test_a_product_takes_some_time() -> None:
    assert speed.reference_s() > 0
