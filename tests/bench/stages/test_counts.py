"""A count that fails is a reason in its record, not a stage that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.instruments import flops
from bench.instruments.flops import FlopCount
from bench.records import Measurement
from bench.stages import lower, step
from bench.workloads.onnx_model import OnnxModel
from bench.workloads.workload import Data, Workload


def failing(*_: object, **__: object) -> None:
    raise NotImplementedError("no counter for this\nand a second line")


def by_metric(measurements: list[Measurement]) -> dict[str, Measurement]:
    return {entry.metric: entry for entry in measurements}


def test_a_model_that_no_counter_takes_is_lowered_without_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "count", failing)
    found = by_metric(lower._operations(nn.Linear(2, 2), torch.randn(1, 2)))
    assert found["dense_flops"].value is found["effective_flops"].value is None
    assert found["flops_complete"].value == 0
    for entry in found.values():
        assert entry.reason == "could not be counted: NotImplementedError: no counter for this"


def test_a_step_that_no_counter_takes_is_timed_without_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "count_step", failing)
    model = nn.Linear(2, 2)
    data = Data(*[torch.zeros(1)] * 4)
    workload = Workload(lambda: data, lambda batch: batch, lambda: model, functional.mse_loss, None)
    optimizer = torch.optim.SGD(model.parameters())
    found = by_metric(step._flops(model, workload, torch.ones(1, 2), torch.ones(1, 2), optimizer))
    assert {found[f"{part}_flops"].value for part in step.STEP_PARTS} == {None}
    assert "could not be counted" in found["flops_complete"].reason


def onnx_file(folder: Path) -> OnnxModel:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "layer",
        [value("x", onnx.TensorProto.FLOAT, ["batch", 6])],
        [value("y", onnx.TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(np.ones((6, 3), np.float32), "w")],
    )
    imports = [onnx.helper.make_opsetid("", 17)]
    path = folder / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return OnnxModel(path)


def test_a_file_with_an_open_batch_is_counted_at_the_batch_that_it_serves(tmp_path: Path) -> None:
    found = by_metric(lower._operations(onnx_file(tmp_path), torch.ones(8, 6)))
    assert found["dense_flops"].value == 2 * 8 * 6 * 3
    assert found["flops_complete"].value == 1


def test_a_file_that_no_counter_takes_is_lowered_without_a_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower, "count_onnx", failing)
    monkeypatch.setattr(OnnxModel, "parameter_counts", failing)
    model = onnx_file(tmp_path)
    found = by_metric([*lower._operations(model, torch.ones(8, 6)), *lower._parameters(model)])
    for metric in ("dense_flops", "parameters", "nonzero_parameters"):
        assert found[metric].value is None and "no counter for this" in found[metric].reason
    assert found["flops_complete"].value == 0


def test_every_count_says_what_it_lacks() -> None:
    class Spectral(nn.Module):
        def forward(self, source: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft(source).abs()

    found = by_metric(lower._operations(Spectral(), torch.randn(1, 8)))
    assert found["dense_flops"].reason == found["effective_flops"].reason
    assert found["dense_flops"].reason == step.incomplete(FlopCount(0, {}, ("aten._fft_r2c",)))
    assert found["flops_complete"].value == 0
