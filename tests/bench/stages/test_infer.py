"""A timing is worth something only if what was timed is what it is called."""

from __future__ import annotations

import pytest
import torch

from bench.errors import StageError
from bench.stages.infer import _judged, _kernels, check

EXPECTED = torch.tensor([[1.0, 2.0, 3.0], [3.0, 1.0, 0.0]])
FP32 = {"format": None, "precision": "fp32"}


class Runs:
    """A program that ran these kernels."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def kernels(self, _: object) -> list[str]:
        return self.names


def test_an_int8_timing_without_an_int8_kernel_is_invalid():
    values = {entry.metric: entry for entry in _kernels(Runs("Conv", "Gemm"), None, "int8-static")}
    assert values["valid"].value == 0 and "no int8-static kernel ran: Conv, Gemm" in values["valid"].reason
    values = {entry.metric: entry for entry in _kernels(Runs("QLinearConv", "Gemm"), None, "int8-static")}
    assert values["valid"].value == 1 and values["format_kernels"].method == "QLinearConv"
    (listed,) = _kernels(Runs("Conv fp32", "Gemm fp32"), None, None)
    assert (listed.metric, listed.value, listed.method) == ("kernels", 2, "Conv fp32, Gemm fp32")


def test_outputs_that_are_not_the_models_make_a_timing_invalid():
    assert _judged(EXPECTED.clone(), EXPECTED, FP32).value == 1
    wrong = _judged(EXPECTED + 0.1, EXPECTED, FP32)
    assert wrong.value == 0 and "relative error" in wrong.reason


def test_outputs_that_are_no_rows_of_numbers_stop_it():
    with pytest.raises(StageError, match="2 outputs for a batch of 3"):
        check([EXPECTED], 3)
    with pytest.raises(StageError, match="not finite"):
        check([EXPECTED, EXPECTED * float("nan")], 2)
