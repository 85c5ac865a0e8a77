"""The harness is paired with bare scripts round by round, in turns; what it costs is found."""

from __future__ import annotations

import subprocess

import pytest

from bench.selftest import harness
from bench.store import StageRow

STEP = StageRow("a" * 64, "step", "net step", True, (), {"settings": {"backend": "cpu-eager"}, "parents": {}})
TRAIN = StageRow("b" * 64, "train", "net", False, (), {"settings": {}, "parents": {}})


def test_rounds_take_turns_and_pairs_of_a_slow_machine_are_set_aside(monkeypatch, tmp_path):
    order: list[str] = []

    def timing(call_s: float) -> dict[str, harness._Timing]:
        slow = len(order) in (4, 5)  # the second round
        return {STEP.label: harness._Timing(call_s * (9 if slow else 1), 1.5e-4 if slow else 1e-4)}

    def launch(_: object) -> tuple[dict[str, StageRow], dict[str, harness._Timing]]:
        order.append("harness")
        return {STEP.label: STEP, TRAIN.label: TRAIN}, timing(1.1)

    def scripts(wanted: dict[str, list[str]]) -> dict[str, harness._Timing]:
        order.append("bare")
        (words,) = wanted.values()
        assert words[3] == "step"
        return timing(1.0)

    monkeypatch.setattr(harness, "_launch", launch)
    monkeypatch.setattr(harness, "_run_scripts", scripts)
    (found,) = harness.measure_harness(tmp_path, lambda text: None, rounds=8)
    # The first run makes what is needed and is no pair's.
    assert order[:5] == ["harness", *("harness", "bare"), *("bare", "harness")]
    assert (found.rounds, found.ratio.n) == (8, 7)
    assert found.ratio.value == pytest.approx(1.1) and found.bare_s == 1.0
    assert "7 of 8 pairs" in harness.harness_line(found)


def test_a_bare_script_prints_the_median_of_its_calls_and_the_reference():
    from bench import datasets

    if datasets.locate("fashion-mnist") is None:
        pytest.skip("Fashion-MNIST is not here")
    words = [*harness.BARE, "step", "1"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    call_s, reference_s = map(float, printed.split())
    assert 0 < call_s < 1 and 0 < reference_s < 0.1
