"""What a runtime really runs: int8 kernels where a format promises them, and none where it does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from techniques.backends import BACKENDS
from techniques.backends.kernels import kernels_of_format, kernels_of_precision
from techniques.backends.protocol import Numerics, Program

EXAMPLE = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    ).eval()


def lowered(backend: str, format_: str | None, folder: Path) -> Program:
    torch.manual_seed(0)
    runtime, numerics = BACKENDS.parse(backend).create(), Numerics(format_, "fp32")
    runtime.lower(net(), EXAMPLE, numerics, [EXAMPLE] * 2, folder)
    program: Program = runtime.load(folder, net, numerics, 1)
    return program


@pytest.mark.parametrize(
    ("backend", "format_", "expected"),
    [
        ("cpu-eager", None, []),
        ("cpu-eager", "int8-dynamic", ["aten::_int_mm"]),
        ("onnxruntime", None, []),
        ("onnxruntime", "int8-dynamic", ["ConvInteger", "DynamicQuantizeMatMul"]),
        ("onnxruntime", "int8-static", ["QGemm", "QLinearConv"]),
    ],
)
def test_the_kernels_that_multiply_int8_are_read_from_the_runtime(backend, format_, expected, tmp_path):
    program = lowered(backend, format_, tmp_path)
    ran = kernels_of_format("int8-static", program.kernels(program.prepare(EXAMPLE)))
    # PyTorch's activations are uint8 on a CPU with VNNI and without AMX, int8 on others.
    assert [re.sub(" u?int8$", "", name) for name in ran] == expected
    assert all(name.endswith("int8") for name in ran)


@pytest.mark.parametrize(
    ("backend", "precision", "expected"),
    [
        ("cpu-eager", "fp32", "aten::addmm fp32"),
        ("cpu-eager", "bf16", "aten::addmm bf16"),
        ("onnxruntime", "fp32", "Gemm fp32"),
    ],
)
def test_kernels_are_named_with_the_numbers_that_they_multiply(backend, precision, expected, tmp_path):
    torch.manual_seed(0)
    runtime, numerics = BACKENDS.parse(backend).create(), Numerics(None, precision)
    runtime.lower(net().to(numerics.dtype), EXAMPLE.to(numerics.dtype), numerics, [], tmp_path)
    program = runtime.load(tmp_path, net, numerics, 1)
    ran = program.kernels(program.prepare(EXAMPLE))
    assert expected in ran and expected in kernels_of_precision(precision, ran)
    assert kernels_of_format("int8-static", ran) == []


@pytest.mark.parametrize(("backend", "operator"), [("cpu-eager", "addmm"), ("onnxruntime", "Gemm")])
def test_a_trace_names_operators_with_their_time_and_opens_in_chrome(backend, operator, tmp_path):
    program = lowered(backend, None, tmp_path)
    path = tmp_path / "trace.json"
    operators = program.trace([program.prepare(EXAMPLE)], 5, path)
    assert any(operator in entry.name and entry.calls >= 5 and entry.self_s > 0 for entry in operators)
    assert [entry.self_s for entry in operators] == sorted((o.self_s for o in operators), reverse=True)
    content = json.loads(path.read_text())
    assert content["traceEvents"] if isinstance(content, dict) else content
