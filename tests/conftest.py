"""What all tests share: seeded random numbers, and a clock that only work advances."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Generator

import pytest

pytest_plugins = ["tests.support.runs", "tests.support.postgresql", "tests.support.browser"]

SEED = 0

# What calls a package's kernels need not be fast here, and half of a compiler's time goes into it.
os.environ.setdefault("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")


# The store of whoever runs the tests is not theirs, nor is the summary of the job that does.
for _name in ("BENCH_STORE", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(_name, None)


def seed() -> None:
    """Start from the same random numbers, in whatever order tests and fixtures run."""
    random.seed(SEED)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(SEED)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(SEED)
        if "PYTEST_XDIST_WORKER" in os.environ:
            torch.set_num_threads(1)  # processes at a time as there are cores: more threads would only wait


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """Seed what fixtures of any scope draw."""
    seed()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Seed what a test draws."""
    seed()
    return (yield)


class SimulatedClock:
    """Stands in for the system's clock: `work` and `time.sleep` advance it, nothing else does."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def work(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def simulated_clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedClock:
    """Replace the clock, so that what is timed takes as long as the test says on any machine."""
    clock = SimulatedClock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now_s)
    monkeypatch.setattr(time, "perf_counter_ns", lambda: round(1e9 * clock.now_s))
    monkeypatch.setattr(time, "sleep", clock.work)
    return clock


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Say after a failure how to run the tests in the same order again."""
    order = config.getoption("randomly_seed", None)
    if exitstatus and order is not None:
        terminalreporter.write_line(f"the same order again: --randomly-seed={order}")
