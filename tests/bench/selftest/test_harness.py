"""The harness is paired with bare scripts round by round, in turns; what it costs is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.records import PlannedRequest
from bench.results.store import StageRow
from bench.selftest import harness
from techniques.backends import BACKENDS
from techniques.backends.protocol import Numerics

STEP = StageRow("a" * 64, "step", "net step", True, (), PlannedRequest({"backend": "cpu-eager"}))
TRAIN = StageRow("b" * 64, "train", "net", False, (), PlannedRequest())


def test_rounds_take_turns_and_pairs_of_a_slow_machine_are_set_aside(monkeypatch, tmp_path):
    order: list[str] = []

    def timing(call_s: float) -> dict[str, harness.Timing]:
        slow = len(order) in (4, 5)  # the second round
        return {STEP.label: harness.Timing(call_s * (9 if slow else 1), 1.5e-4 if slow else 1e-4)}

    def launch(_: object) -> tuple[dict[str, StageRow], dict[str, harness.Timing]]:
        order.append("harness")
        return {STEP.label: STEP, TRAIN.label: TRAIN}, timing(1.1)

    def scripts(wanted: dict[str, list[str]]) -> dict[str, harness.Timing]:
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
    told = harness.run_script([*harness.BARE, "step", "1"])
    assert told.call_s > 0 and told.reference_s > 0


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_runtimes_own_tool_serves_what_the_backend_lowered(tmp_path, backend):
    pytest.importorskip(backend)
    batches = torch.randint(1, 9, (4, 2, 6))
    np.save(tmp_path / "batches.npy", batches.numpy())
    model = nn.Sequential(nn.Embedding(9, 8), nn.Flatten(), nn.Linear(48, 3))
    BACKENDS.parse(backend).create().lower(model, batches[0], Numerics(None, "fp32"), [], tmp_path)
    served, kept = str(tmp_path / harness.SERVED[backend]), str(tmp_path / "batches.npy")
    told = harness.run_script([*harness.BARE, backend, "1", served, kept])
    assert told.call_s > 0 and told.reference_s > 0


def test_a_script_that_fails_is_told_with_its_last_line():
    with pytest.raises(BenchError, match=r"bare onnxruntime 1 missing\.onnx missing\.npy: .*missing\.npy"):
        harness.run_script([*harness.BARE, "onnxruntime", "1", "missing.onnx", "missing.npy"])
