"""Each thing that can disturb a launch is told by its own sign; a quiet launch is not called disturbed."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from bench.instruments import boards
from bench.instruments.boards import Throttling, gpu_state
from bench.instruments.disturbance import Disturbance


def test_a_quiet_block_is_recorded_and_not_disturbed():
    watch = Disturbance()
    with watch:
        sum(range(1000))
    found = watch.to_json()
    assert found["wall_s"] > 0 and "gpu_strangers" not in found
    assert set(found) >= {"cpu_over_wall", "cpu_pressure", "stolen", "involuntary_switches", "others_cpu"}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"cpu_pressure": 0.5}, "waited for a CPU 50 %"),
        ({"stolen": 0.1}, "the hypervisor gave 10 % of the CPUs' time to others"),
        ({"involuntary_switches": 1000.0}, "1000 involuntary"),
        ({"cpu_pressure": None, "stolen": None, "involuntary_switches": 10.0}, ""),
        ({"cpu_pressure": 0.04, "stolen": 0.01, "involuntary_switches": 500.0}, ""),
        ({"cpu_pressure": 0.08, "others_cpu": 0.01}, ""),
        ({"cpu_pressure": 0.08, "others_cpu": 0.2}, "CPU 8 %"),
        ({"cpu_pressure": 0.08, "others_cpu": None}, "CPU 8 %"),
    ],
)
def test_what_disturbs_a_launch_is_named(found, told):
    watch = Disturbance()
    watch._found = {"wall_s": 1.0, **found}
    text = watch.disturbed(threads=2)
    assert told in text and bool(text) == bool(told)


def test_a_timed_pass_that_did_not_have_its_cpu_is_disturbed():
    watch = Disturbance()
    watch._found = {"wall_s": 1.0}
    assert watch.disturbed(2, {"timed_cpu_over_wall": 1.8}) == ""
    assert "for only 60 % of the timed pass" in watch.disturbed(2, {"timed_cpu_over_wall": 0.6})
    assert (
        Disturbance("cuda").disturbed(2, {"timed_cpu_over_wall": 0.1}) == ""
    )  # its CPU waits for the device


def test_a_process_that_sleeps_shows_little_cpu_over_wall():
    watch = Disturbance()
    with watch:
        time.sleep(0.2)
    assert watch.to_json()["cpu_over_wall"] < 0.5


class NVMLError(Exception):
    pass


def board(processes: int) -> SimpleNamespace:
    """Stands in for pynvml."""
    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetComputeRunningProcesses=lambda _: [SimpleNamespace(pid=n) for n in range(processes)],
        nvmlDeviceGetClockInfo=lambda _, kind: 1980,
    )


def test_a_stranger_on_the_gpu_disturbs_a_launch(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", board(processes=1))
    watch = Disturbance("cuda")
    with watch:
        pass
    watch._found = {"wall_s": 1.0}  # what else ran on this machine is no part of it
    assert "1 other processes were on the GPU" in watch.disturbed(2)
    assert watch.to_json()["gpu_strangers"] == 1


def test_our_own_process_is_no_stranger(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", board(processes=1))
    state = gpu_state(ours=1)
    assert (state.strangers, state.sm_mhz) == (0, 1980.0)


def test_a_gpu_that_does_not_answer_is_unknown_with_the_reason(monkeypatch):
    silent = board(0)
    silent.nvmlInit = refuse
    monkeypatch.setitem(sys.modules, "pynvml", silent)
    state = gpu_state(ours=0)
    assert "Driver Not Loaded" in state.reason and state.strangers == 0


def refuse(*_: object) -> None:
    raise NVMLError("Driver Not Loaded")


def held(monkeypatch, **nanoseconds: int) -> SimpleNamespace:
    """Let a board's counters of violation time rise by so much between two readings of each."""
    policies = ("POWER", "THERMAL", "BOARD_LIMIT", "RELIABILITY")
    answers = {policy: iter((5_000, 5_000 + nanoseconds.get(policy, 0))) for policy in policies}
    found = board(1)
    for policy in policies:
        setattr(found, f"NVML_PERF_POLICY_{policy}", policy)
    found.nvmlDeviceGetViolationStatus = lambda _, policy: SimpleNamespace(
        violationTime=next(answers[policy])
    )
    monkeypatch.setitem(sys.modules, "pynvml", found)
    monkeypatch.setattr(boards, "current_board", lambda pynvml: 0)
    return found


def shares(seconds: float = 0.05) -> dict[str, float | None]:
    with Throttling("cuda") as throttling:
        time.sleep(seconds)
    return {entry.metric: entry.value for entry in throttling.measurements()}


def test_the_time_that_heat_held_a_gpu_down_is_a_share_of_the_pass_and_disturbs_it(
    monkeypatch, simulated_clock
):
    held(monkeypatch, THERMAL=20_000_000, BOARD_LIMIT=5_000_000)
    found = shares()
    assert (found["gpu_throttled"], found["gpu_power_limited"]) == (pytest.approx(0.5), 0.0)
    watch = Disturbance("cuda")
    assert "the GPU was throttled" in watch.disturbed(2, found)


def test_a_gpu_at_its_power_limit_is_recorded_and_not_disturbed(monkeypatch, simulated_clock):
    held(monkeypatch, POWER=20_000_000)
    found = shares()
    assert found["gpu_power_limited"] == pytest.approx(0.4)
    assert Disturbance("cuda").disturbed(2, found) == ""


def test_a_board_that_counts_no_violations_is_unknown_and_disturbs_nothing(monkeypatch):
    held(monkeypatch).nvmlDeviceGetViolationStatus = refuse
    assert shares(0) == {"gpu_power_limited": None, "gpu_throttled": None}
    assert Throttling("cpu").measurements() == ()
