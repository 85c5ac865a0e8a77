"""Models of other numbers than fp32 are carried as what they are, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from techniques.backends.eager import Eager
from techniques.backends.onnx_runtime import OnnxRuntime
from techniques.backends.openvino_runtime import OpenVino
from techniques.backends.protocol import Numerics
from techniques.backends.training import TorchTrainingStep, TrainingOptions
from techniques.numbers import as_taken, in_numbers, weight_types, widened_weights
from techniques.optimizers import OPTIMIZERS
from techniques.outputs import Flattened, as_graph
from techniques.registry import CannotApply

BATCH = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")
FP32 = Numerics(None, "fp32")


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, 3, dtype=torch.complex64))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch.to(self.weight.dtype) @ self.weight).abs()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def served(backend: object, model: nn.Module, build: object, folder: Path, numerics: Numerics = FP32):
    batch = BATCH.to(torch.float64) if numerics.precision == "fp64" else BATCH
    backend.lower(model, batch.clone(), numerics, [], folder)
    program = backend.load(folder, build, numerics, 1)
    return program.to_tensors(program(program.prepare(batch)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_checkpoint_is_exact_in_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    model = widened_weights(net().to(dtype))
    assert weight_types(model) == ["fp32"]
    assert as_taken(model, BATCH.to(dtype)).dtype == torch.float32
    with torch.no_grad():
        expected = model(BATCH)
    (outputs,) = served(OnnxRuntime(), model, net, tmp_path)
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", [Eager("cpu"), OnnxRuntime()], ids=["eager", "onnx"])
def test_doubles_are_carried_in_fp64(backend: object, tmp_path: Path) -> None:
    model = net().double()
    with torch.no_grad():
        expected = model(BATCH.double())
    (outputs,) = served(backend, model, lambda: net().double(), tmp_path, Numerics(None, "fp64"))
    assert outputs.dtype == torch.float64
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)


def test_an_operator_without_a_kernel_is_refused_by_name_when_it_is_lowered(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)).eval().double()
    try:
        (outputs,) = served(OnnxRuntime(), model, lambda: model, tmp_path, Numerics(None, "fp64"))
    except CannotApply as error:  # up to 1.32 there is none for doubles
        assert str(error) == "ONNX Runtime has no fp64 kernel for Erf"
    else:
        assert outputs.dtype == torch.float64


def test_doubles_listed_as_fp32_are_fp32(tmp_path: Path) -> None:
    (outputs,) = served(OnnxRuntime(), net().double(), net, tmp_path)
    assert outputs.dtype == torch.float32


def test_complex_weights_keep_their_imaginary_part(tmp_path: Path) -> None:
    expected = Complex()(BATCH).detach()
    (outputs,) = served(Eager("cpu"), Complex(), Complex, tmp_path)
    assert torch.equal(outputs, expected)
    assert in_numbers(Complex(), torch.float64).weight.dtype == torch.complex128
    with pytest.raises(CannotApply, match="complex weights, which do not exist in bf16"):
        in_numbers(Complex(), torch.bfloat16)


@pytest.mark.parametrize("backend", [OnnxRuntime(), OpenVino()], ids=["onnx", "openvino"])
def test_runtimes_without_complex_numbers_are_skipped_with_the_reason(
    backend: object, tmp_path: Path
) -> None:
    with pytest.raises(CannotApply, match="the model has complex weights, which"):
        backend.lower(Complex(), BATCH, FP32, [], tmp_path)


def step(model: nn.Module, precision: str) -> TorchTrainingStep:
    adam = OPTIMIZERS.parse("adam:lr=0.01")
    return TorchTrainingStep.prepare(model, functional.cross_entropy, adam, CPU, precision, TrainingOptions())


def test_complex_weights_are_trained() -> None:
    model = Complex()
    before = model.weight.detach().clone()
    step(model, "fp32")(BATCH, torch.arange(4) % 3)
    assert model.weight.is_complex() and (model.weight.imag != before.imag).any()


@pytest.mark.parametrize(
    ("dtype", "precision", "told"),
    [
        (torch.float64, "fp32", 'weights are fp64.*train it with precision = "fp64"'),
        (torch.float16, "fp32", "weights are fp16"),
        (torch.float32, "fp64", "weights are fp32"),
    ],
)
def test_training_in_other_numbers_than_it_is_listed_under_is_refused(
    dtype: torch.dtype, precision: str, told: str
) -> None:
    with pytest.raises(CannotApply, match=told):
        step(net().to(dtype), precision)


def test_doubles_are_trained_in_fp64() -> None:
    model = net().double()
    loss = step(model, "fp64")(BATCH.double(), torch.arange(4) % 3)
    assert loss.dtype == torch.float64 and weight_types(model) == ["fp64"]


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.first(batch)
        scores = self.head(hidden)
        return {"hidden": hidden, "scores": scores, "label": scores.argmax(1)}


@pytest.mark.parametrize(
    "backend", [Eager("cpu"), OnnxRuntime(), OpenVino()], ids=["eager", "onnx", "openvino"]
)
def test_all_outputs_are_served_in_their_order(backend: object, tmp_path: Path) -> None:
    expected = Several()(BATCH)
    outputs = served(backend, Several().eval(), Several, tmp_path)
    for found, wanted in zip(outputs, expected.values(), strict=True):
        torch.testing.assert_close(found, wanted.detach(), rtol=1e-4, atol=1e-5, check_dtype=False)


def test_a_model_of_one_tensor_is_traced_as_it_is() -> None:
    assert not isinstance(as_graph(net(), BATCH), Flattened)
    assert isinstance(as_graph(Several(), BATCH), Flattened)
