"""A timing is worth something only if what was timed is what it is called."""

from __future__ import annotations

import pytest
import torch

from bench.errors import StageError
from bench.models.predictions import Predictions
from bench.records import Measurement
from bench.stages.infer import _judged, _kernels, served
from bench.workloads.given import workload
from bench.workloads.output_kinds import OutputKind
from techniques.backends.protocol import TorchProgram
from tests.support.stage_requests import settings_for

EXPECTED = torch.tensor([[1.0, 2.0, 3.0], [3.0, 1.0, 0.0]])
FP32 = settings_for("infer", format=None, precision="fp32")
SERVED = workload(lambda: torch.nn.Identity(), EXPECTED)


def scores(outputs: torch.Tensor) -> Predictions:
    return Predictions({"": outputs}, kind=OutputKind("scores", 1))


def judged(*kernels: str, format_: str | None = None, precision: str = "fp32") -> dict[str, Measurement]:
    found = _kernels(kernels, settings_for("infer", format=format_, precision=precision))
    return {entry.metric: entry for entry in found}


def test_an_int8_timing_without_an_int8_kernel_is_invalid():
    values = judged("Conv", "Gemm", format_="int8-static")
    assert values["valid"].value == 0 and "no int8-static kernel ran: Conv, Gemm" in values["valid"].reason
    values = judged("QLinearConv", "Gemm", format_="int8-static")
    assert values["valid"].value == 1 and values["format_kernels"].method == "QLinearConv"


def test_products_in_other_numbers_are_named_beside_those_of_a_format():
    values = judged("QLinearConv int8", "Relu fp32", "Gemm fp32", format_="int8-static")
    assert values["format_kernels"].method == "QLinearConv int8; beside them Gemm fp32"


@pytest.mark.parametrize(
    "kernels",
    [
        ("aten::addmm bf16", "Convolution fp32"),
        ("MatMul bf16", "Add fp32"),
        ("tensors of bfloat16", "mkldnn__linear_pointwise", "cpp_fused_relu_0"),
    ],
)
def test_a_bf16_timing_wants_a_bf16_kernel(kernels):
    values = judged(*kernels, precision="bf16")
    assert values["valid"].value == 1 and values["format_kernels"].method.startswith(kernels[0])
    values = judged("tensors of float32", "mkldnn__linear_pointwise", precision="bf16")
    assert values["valid"].value == 0
    values = judged("tensors of bfloat16", "aten::convolution fp32", precision="bf16")
    assert values["valid"].value == 0
    values = judged("aten::copy_ bf16", "aten::addmm fp32", precision="bf16")
    assert values["valid"].value == 0 and "no bf16 kernel ran" in values["valid"].reason
    assert "valid" not in judged("aten::relu bf16", precision="bf16")  # nothing is multiplied


def test_in_fp32_kernels_are_only_listed():
    (listed,) = judged("Conv fp32", "Gemm fp32").values()
    assert (listed.metric, listed.value, listed.method) == ("kernels", 2, "Conv fp32, Gemm fp32")


def test_outputs_that_are_not_the_models_make_a_timing_invalid():
    assert _judged(scores(EXPECTED.clone()), scores(EXPECTED), SERVED, FP32).value == 1
    wrong = _judged(scores(EXPECTED + 0.1), scores(EXPECTED), SERVED, FP32)
    assert wrong.value == 0 and "relative error" in wrong.reason


def test_outputs_that_are_no_numbers_make_a_timing_invalid():
    lost = _judged(scores(EXPECTED * float("nan")), scores(EXPECTED), SERVED, FP32)
    assert lost.value == 0 and "outputs are not finite: 6 of 6 are NaN" in lost.reason


def test_outputs_without_a_row_for_each_sample_stop_it():
    program = TorchProgram(lambda batch: EXPECTED, torch.device("cpu"), torch.float32)
    with pytest.raises(StageError, match=r"no row for each of the 3 samples of a batch: \(2, 3\)"):
        served(program, [EXPECTED], scores(EXPECTED), 3)
