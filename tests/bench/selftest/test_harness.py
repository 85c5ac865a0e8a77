"""The harness is paired with bare scripts round by round, in turns; what it costs is found."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.selftest import harness
from bench.store import StageRow

STEP = StageRow("a" * 64, "step", "net step", True, (), {"settings": {"backend": "cpu-eager"}, "parents": {}})
TRAIN = StageRow("b" * 64, "train", "net", False, (), {"settings": {}, "parents": {}})


def test_rounds_take_turns_and_the_ratio_is_that_of_pairs(monkeypatch, tmp_path):
    order: list[str] = []

    def launch(_: object) -> tuple[dict[str, StageRow], dict[str, float]]:
        order.append("harness")
        return {STEP.label: STEP, TRAIN.label: TRAIN}, {STEP.label: 1.1 * len(order)}

    def scripts(wanted: dict[str, list[str]]) -> dict[str, float]:
        order.append("bare")
        (words,) = wanted.values()
        assert words[2] == "step"
        return {STEP.label: 1.0 * len(order)}

    monkeypatch.setattr(harness, "_launch", launch)
    monkeypatch.setattr(harness, "_run_scripts", scripts)
    (found,) = harness.measure_harness(tmp_path, lambda text: None, rounds=4)
    # The first run makes what is needed and is no pair's.
    assert order == [
        "harness",
        *("harness", "bare"),
        *("bare", "harness"),
        *("harness", "bare"),
        *("bare", "harness"),
    ]
    assert found.ratio.value == pytest.approx(1.1, rel=0.2)
    assert "harness / bare" in harness.harness_line(found)


def test_a_bare_script_prints_the_median_of_its_calls():
    words = [sys.executable, str(harness._BARE), "cpu-eager", "1"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert 0 < float(printed) < 1
