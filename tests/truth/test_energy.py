"""Energy is a counter's difference over a second or more, or unknown with the reason; never 0."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.instruments.energy import NvmlCounter, RaplCounter, measure_energy


def package(root: Path, zone: str, uj: int, name: str = "package-0", most_uj: int = 262_143_328_850) -> Path:
    (root / zone).mkdir(parents=True)
    (root / zone / "name").write_text(name + "\n")
    (root / zone / "energy_uj").write_text(str(uj))
    (root / zone / "max_energy_range_uj").write_text(str(most_uj))
    return root / zone / "energy_uj"


class Counter:
    """Counts 5 J for each call."""

    method, reason = "known", ""

    def __init__(self) -> None:
        self.calls = 0

    def start(self) -> None:
        self.calls = 0

    def joules(self) -> float | None:
        return 5.0 * self.calls


def test_the_energy_of_one_call_is_that_of_all_over_their_number_and_the_window_is_kept(simulated_clock):
    counter = Counter()

    def call() -> None:
        counter.calls += 1
        simulated_clock.work(0.25)

    found = measure_energy(call, lambda: None, "cpu", window_s=1.0, counter=counter)
    assert (found.value, found.n, counter.calls) == (5.0, 4, 4)
    assert found.method == "known over 1.0 s"


def test_where_nothing_counts_nothing_is_called():
    def call() -> None:
        raise AssertionError

    found = measure_energy(call, lambda: None, "mps")
    assert found.value is None and "no energy counter is known for mps" in found.reason


def test_energy_that_no_counter_shows_is_unknown_with_the_reason(tmp_path):
    counter = RaplCounter(tmp_path)
    counter.start()
    assert counter.joules() is None and "no RAPL" in counter.reason


def test_packages_add_up_and_a_counter_that_wrapped_is_mended(tmp_path):
    wraps = package(tmp_path, "intel-rapl:0", 262_143_000_000)
    other = package(tmp_path, "intel-rapl:1", 100_000, "package-1")
    counter = RaplCounter(tmp_path)
    counter.start()
    wraps.write_text("171150")  # 0.5 J in all
    other.write_text("1100000")  # 1 J
    assert counter.joules() == pytest.approx(1.5)


def test_a_counter_that_was_reset_is_not_taken_for_one_that_wrapped(tmp_path):
    path = package(tmp_path, "intel-rapl:0", 50_000_000_000)
    counter = RaplCounter(tmp_path)
    counter.start()
    path.write_text("1000")
    assert counter.joules() is None and "reset" in counter.reason


def test_platform_and_core_domains_are_not_added_to_the_packages(tmp_path):
    paths = [
        package(tmp_path, zone, 0, name)
        for zone, name in (
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:1", "psys"),
            ("intel-rapl:0:0", "core"),
        )
    ]
    (tmp_path / "intel-rapl-mmio:0").mkdir()
    counter = RaplCounter(tmp_path)
    counter.start()
    for path in paths:
        path.write_text("2000000\n")
    assert counter.joules() == 2.0


def test_a_counter_that_did_not_move_is_unknown_and_not_0(tmp_path):
    package(tmp_path, "intel-rapl:0", 5)
    counter = RaplCounter(tmp_path)
    counter.start()
    assert counter.joules() is None and "did not move" in counter.reason


class NVMLError(Exception):
    pass


@pytest.mark.parametrize(
    ("readings_mj", "joules", "reason"),
    [((1000, 4000), 3.0, ""), ((1000, 1000), None, "did not move"), ((9000, 10), None, "was reset")],
)
def test_a_gpus_counter_gives_its_difference(monkeypatch, readings_mj, joules, reason):
    import torch

    answers = iter(readings_mj)
    board = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: next(answers),
    )
    monkeypatch.setitem(sys.modules, "pynvml", board)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1234"))
    counter = NvmlCounter()
    counter.start()
    assert counter.joules() == joules and reason in counter.reason


def test_a_gpu_whose_driver_does_not_answer_is_unknown_with_its_reason(monkeypatch):
    def refuse() -> None:
        raise NVMLError("Driver Not Loaded")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=NVMLError, nvmlInit=refuse))
    counter = NvmlCounter()
    counter.start()
    assert counter.joules() is None and "Driver Not Loaded" in counter.reason


class Bursts:
    """A device that draws 200 W for the first tenth of each call and 20 W for the rest of it."""

    method, reason = "known", ""

    def start(self) -> None:
        self.calls = 0

    def joules(self) -> float | None:
        return self.calls * 0.01 * (0.1 * 200 + 0.9 * 20)


def test_power_that_is_sampled_at_the_end_of_a_call_is_not_its_energy(simulated_clock):
    counter = Bursts()
    sampled_w: list[float] = []

    def call() -> None:
        counter.calls += 1
        simulated_clock.work(0.01)
        sampled_w.append(20.0)

    found = measure_energy(call, lambda: None, "cpu", window_s=0.05, counter=counter)
    naive = sum(sampled_w) / len(sampled_w) * 0.01
    assert found.value == pytest.approx(0.38) and naive == pytest.approx(0.2)
