"""A machine's calibration: fixed work, measured once a day, missing rather than wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.costs import calibration
from bench.costs.calibration import Calibration, calibration_of

FOUND = Calibration(0.1, 0.02, 2.0)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    return tmp_path / "costs" / "calibration.json"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    times = [0]

    def measure() -> Calibration:
        times[0] += 1
        return FOUND

    monkeypatch.setattr(calibration, "_measured", measure)
    return times


def test_it_takes_seconds_and_measures_what_there_is() -> None:
    command = [sys.executable, "-c", "from bench.costs.calibration import main; main()"]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=300)
    found = json.loads(done.stdout)
    assert found["python_s"] > 0 and found["product_s"] > 0
    assert found["cpp_s"] is None or found["cpp_s"] > 0


def test_without_a_compiler_there_is_no_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert calibration.measure().cpp_s is None


def test_one_holds_for_a_day_on_as_many_cores(measured: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert calibration_of(2, measure=False) is None
    assert [calibration_of(2), calibration_of(2, measure=False)] == [FOUND, FOUND]
    assert measured == [1]
    calibration_of(4)
    now[0] += 25 * 3600
    calibration_of(2)
    assert measured == [3]


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"x": 1}'])
def test_a_damaged_file_costs_a_new_one(content: str, cache: Path, measured: list[int]) -> None:
    cache.parent.mkdir()
    cache.write_text(content)
    assert calibration_of(2) == FOUND
    assert calibration_of(2) == FOUND
    assert measured == [1]


def test_one_that_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert calibration_of(2) is None
