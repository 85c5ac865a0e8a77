"""Each thing that can disturb a launch is told by its own sign; a quiet launch is not called disturbed."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from bench.instruments import disturbance
from bench.instruments.boards import gpu_state, throttles
from bench.instruments.disturbance import Disturbance, stolen_s


def test_a_quiet_block_is_recorded_and_not_disturbed():
    watch = Disturbance()
    with watch:
        sum(range(1000))
    found = watch.to_json()
    assert found["wall_s"] > 0 and "gpu_strangers" not in found
    assert set(found) >= {"cpu_over_wall", "cpu_pressure", "stolen", "involuntary_switches"}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"cpu_pressure": 0.5}, "waited for a CPU 50 %"),
        ({"stolen": 0.1}, "the hypervisor gave 10 % of the CPUs' time to others"),
        ({"involuntary_switches": 1000.0}, "1000 involuntary"),
        ({"cpu_pressure": None, "stolen": None, "involuntary_switches": 10.0}, ""),
        ({"cpu_pressure": 0.04, "stolen": 0.01, "involuntary_switches": 500.0}, ""),
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
    assert watch.disturbed(2, timed_cpu_over_wall=1.8) == ""
    assert "for 60 % of the timed pass" in watch.disturbed(2, timed_cpu_over_wall=0.6)
    assert Disturbance("cuda").disturbed(2, timed_cpu_over_wall=0.1) == ""  # its CPU waits for the device


def test_a_process_that_sleeps_shows_little_cpu_over_wall():
    watch = Disturbance()
    with watch:
        time.sleep(0.2)
    assert watch.to_json()["cpu_over_wall"] < 0.5


def test_stolen_time_is_the_eighth_number_of_the_first_line(tmp_path, monkeypatch):
    path = tmp_path / "stat"
    path.write_text("cpu  10 20 30 40 50 60 70 800 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n")
    monkeypatch.setattr(disturbance, "CPU_TIMES", path)
    assert stolen_s() == 8.0
    path.write_text("cpu  10 20 30\n")
    assert stolen_s() is None


class NVMLError(Exception):
    pass


def board(processes: int, reasons: int) -> SimpleNamespace:
    """Stands in for pynvml."""
    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetComputeRunningProcesses=lambda _: [SimpleNamespace(pid=n) for n in range(processes)],
        nvmlDeviceGetCurrentClocksEventReasons=lambda _: reasons,
        nvmlDeviceGetClockInfo=lambda _, kind: 1980,
    )


def test_a_stranger_on_the_gpu_and_a_throttled_gpu_disturb_a_launch(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", board(processes=1, reasons=0x0))
    watch = Disturbance("cuda")
    with watch:
        pass
    assert "1 other processes were on the GPU" in watch.disturbed(2)
    assert watch.to_json()["gpu_strangers"] == 1

    monkeypatch.setitem(sys.modules, "pynvml", board(processes=0, reasons=0x40 | 0x1))
    watch = Disturbance("cuda")
    with watch:
        pass
    assert watch.disturbed(2) == "the GPU was throttled: its temperature, by hardware"


def test_our_own_process_is_no_stranger_and_an_idle_clock_no_throttle(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", board(processes=1, reasons=0x1))
    state = gpu_state(ours=1)
    assert (state.strangers, state.throttled, state.sm_mhz) == (0, (), 1980.0)
    assert throttles(0x1 | 0x2 | 0x10) == ()


def test_a_gpu_that_does_not_answer_is_unknown_with_the_reason(monkeypatch):
    def refuse() -> None:
        raise NVMLError("Driver Not Loaded")

    silent = board(0, 0)
    silent.nvmlInit = refuse
    monkeypatch.setitem(sys.modules, "pynvml", silent)
    state = gpu_state(ours=0)
    assert "Driver Not Loaded" in state.reason and state.strangers == 0
