"""Formats of weights: int8 and int4 numbers are multiplied as they are, with activations that stay floats."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cosine_similarity, linear

from techniques.backends.eager import WEIGHTS, Eager
from techniques.backends.inductor import Inductor
from techniques.backends.kernels import kernels_of_format, kernels_of_precision
from techniques.backends.onnx_runtime import MODEL, OnnxRuntime
from techniques.backends.protocol import Numerics, Program
from techniques.backends.torchao_formats import (
    PackedWeight,
    check_kernel,
    fill_weights,
    quantize,
    save_weights,
    two_of_four,
)
from techniques.precisions import PRECISIONS
from techniques.registry import CannotApply

EXAMPLE = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
COSINES = {"int8-weight": 0.999, "int4-weight": 0.98}
INT8, INT4 = Numerics("int8-weight", "bf16"), Numerics("int4-weight", "bf16")


def net() -> nn.Module:
    """Return a net whose last layer has a size that no int4 kernel of PyTorch takes."""
    torch.manual_seed(0)
    features = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10, bias=False)).eval()


def lowered(backend: Any, numerics: Numerics, folder: Path) -> Program:
    backend.lower(net(), EXAMPLE, numerics, [], folder)
    program: Program = backend.load(folder, net, numerics, 1)
    return program


def outputs(program: Program) -> torch.Tensor:
    return program.to_tensor(program(program.prepare(EXAMPLE)))


@torch.no_grad()
def expected() -> torch.Tensor:
    result: torch.Tensor = net()(EXAMPLE)
    return result


@pytest.mark.parametrize(
    ("backend", "numerics", "kernels"),
    [
        (Eager("cpu"), INT8, ["aten::_weight_int8pack_mm bf16"]),
        (Eager("cpu"), INT4, ["aten::_weight_int4pack_mm_for_cpu bf16"]),
        (Inductor(), INT8, ["_weight_int8pack_mm"]),
        (Inductor(), INT4, ["_weight_int4pack_mm_cpu_tensor"]),
        (OnnxRuntime(), Numerics("int4-weight", "fp32"), ["MatMulNBits int4-weight"]),
    ],
)
def test_weights_are_multiplied_by_a_kernel_of_their_format(backend, numerics, kernels, tmp_path):
    program = lowered(backend, numerics, tmp_path)
    ran = program.kernels(program.prepare(EXAMPLE))
    assert kernels_of_format(numerics.format, ran) == kernels
    assert kernels_of_format("int8-dynamic", ran) == []
    assert cosine_similarity(outputs(program), expected()).min() >= COSINES[numerics.format]


@pytest.mark.parametrize(
    ("backend", "kernel"), [(Eager("cpu"), "aten::addmm fp16"), (Inductor(), "tensors of float16")]
)
def test_fp16_is_within_its_own_tolerance_on_a_cpu(backend, kernel, tmp_path):
    program = lowered(backend, Numerics(None, "fp16"), tmp_path)
    error = (outputs(program) - expected()).abs().max() / expected().abs().max()
    assert error <= PRECISIONS["fp16"].relative_error
    ran = program.kernels(program.prepare(EXAMPLE))
    assert kernel in ran and kernel in kernels_of_precision("fp16", ran)


@pytest.mark.parametrize(("numerics", "share", "dtype"), [(INT8, 0.3, torch.int8), (INT4, 0.2, torch.uint8)])
def test_weights_rest_on_disk_in_their_format_and_without_pickle(numerics, share, dtype, tmp_path):
    lowered(Eager("cpu"), numerics, tmp_path)
    path = tmp_path / WEIGHTS
    assert path.stat().st_size < share * sum(4 * weight.numel() for weight in net().parameters())
    assert load_file(path)["3.weight/numbers"].dtype == dtype
    assert not zipfile.is_zipfile(path)


def test_an_onnx_file_of_int4_weights_is_small(tmp_path):
    lowered(OnnxRuntime(), Numerics("int4-weight", "fp32"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MODEL]
    assert (tmp_path / MODEL).stat().st_size < 0.2 * sum(4 * weight.numel() for weight in net().parameters())


def test_onnx_runtimes_activations_are_not_quantized(tmp_path):
    backend, layer = OnnxRuntime(), nn.Linear(1024, 16, bias=False)
    first, second = torch.randn(2, 4, 1024)
    backend.lower(layer, first, Numerics("int4-weight", "fp32"), [], tmp_path)
    program = backend.load(tmp_path, lambda: layer, Numerics("int4-weight", "fp32"), 1)
    one, two, both = (
        program.to_tensor(program(program.prepare(rows))).clone() for rows in (first, second, first + second)
    )
    torch.testing.assert_close(one + two, both, rtol=1e-4, atol=1e-4)  # rounded rows would not add up


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_packed_weight_gives_the_product_of_its_rounded_numbers(rows, dtype):
    weight, batch = torch.randn(48, 64).to(dtype), torch.randn(2, rows, 64).to(dtype)
    packed = PackedWeight.int8(weight)
    rounded = packed.numbers.float() * packed.scales.float()[:, None]
    assert (rounded - weight.float()).abs().max() <= weight.abs().max() / 127
    bias = torch.randn(48).to(dtype)
    product = linear(batch, packed, bias)
    assert product.dtype == dtype
    exact = batch.float() @ rounded.T + bias.float()
    error = (product.float() - exact).abs().max() / exact.abs().max()
    assert error <= max(torch.finfo(dtype).eps, 1e-6)


def test_a_packed_weight_has_the_shape_of_the_weight_that_it_came_from():
    weight = torch.randn(48, 64)
    for packed in (PackedWeight.int8(weight), PackedWeight.int4(weight)):
        assert (packed.shape, packed.dtype) == (weight.shape, weight.dtype)


def test_layers_whose_sizes_a_kernel_does_not_take_keep_their_numbers():
    model = nn.Sequential(nn.Linear(64, 84), nn.Linear(84, 32), nn.Linear(32, 10)).bfloat16()
    packed = [isinstance(layer.weight, PackedWeight) for layer in quantize(model, "int8-weight")]
    assert packed == [True, False, True]
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 2)).bfloat16()
    packed = [isinstance(layer.weight, PackedWeight) for layer in quantize(model, "int8-weight")]
    assert packed == [True, False]  # Inductor's lowering of the kernel fails on 8 outputs or fewer
    model = nn.Sequential(nn.Linear(64, 80), nn.Linear(80, 32), nn.Linear(32, 10)).bfloat16()
    packed = [isinstance(layer.weight, PackedWeight) for layer in quantize(model, "int4-weight")]
    assert packed == [True, False, False]


def test_pytorchs_own_transformer_layer_takes_packed_weights():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval().bfloat16()
    batch = torch.randn(2, 7, 64).bfloat16()
    with torch.inference_mode():
        before = layer(batch).float()
        after = quantize(layer, "int8-weight")(batch).float()
    assert cosine_similarity(before.flatten(1), after.flatten(1)).min() > 0.999


@pytest.mark.parametrize("backend", [Eager("cpu"), Inductor(), OnnxRuntime()])
def test_a_model_without_products_with_weights_is_skipped_with_the_reason(backend, tmp_path):
    precision = "fp32" if isinstance(backend, OnnxRuntime) else "bf16"
    with pytest.raises(CannotApply, match="no layer that int4-weight applies to"):
        backend.lower(nn.Conv2d(3, 4, 3), EXAMPLE, Numerics("int4-weight", precision), [], tmp_path)


def test_precisions_without_a_vectorized_kernel_are_skipped_with_the_reason(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(CannotApply, match="int8-weight takes activations in bfloat16, not in float32"):
        quantize(nn.Linear(64, 64), "int8-weight")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    quantize(nn.Linear(64, 64), "int8-weight")


@pytest.mark.parametrize(
    ("format_", "capability", "dtype", "reason"),
    [
        ("fp8", (8, 6), torch.bfloat16, "fp8 requires a GPU of compute capability 8.9; this one has 8.6"),
        ("fp8", (8, 9), torch.bfloat16, None),
        ("sparse-2-4", (7, 5), torch.bfloat16, "sparse-2-4 requires a GPU of compute capability 8.0"),
        ("sparse-2-4", (8, 0), torch.bfloat16, None),
        ("int4-weight", (7, 5), torch.bfloat16, "int4-weight requires a GPU of compute capability 8.0"),
        ("int4-weight", (9, 0), torch.float16, "takes activations in bfloat16, not in float16"),
        ("int4-weight", (9, 0), torch.bfloat16, None),
        ("int8-weight", (7, 0), torch.float32, None),
        ("int8-weight", (9, 0), torch.bfloat16, "takes activations in float32, not in bfloat16"),
    ],
)
def test_a_gpu_without_a_formats_kernel_is_said_to_be(monkeypatch, format_, capability, dtype, reason):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    if reason is None:
        check_kernel(format_, torch.device("cuda"), dtype)
    else:
        with pytest.raises(CannotApply, match=reason):
            check_kernel(format_, torch.device("cuda"), dtype)


def test_fp8_weights_rest_on_disk_as_fp8(tmp_path):
    from torchao.quantization import Float8Tensor

    def model(scale: float) -> nn.Module:
        layer = nn.Linear(32, 16, bias=False)
        layer.weight = nn.Parameter(Float8Tensor.from_hp(scale * torch.randn(16, 32)), requires_grad=False)
        return layer

    path, saved = tmp_path / WEIGHTS, model(1.0)
    save_weights(saved, path)
    assert load_file(path)["weight/qdata"].dtype == torch.float8_e4m3fn
    filled = fill_weights(model(5.0), path)
    assert torch.equal(filled.weight.dequantize(), saved.weight.dequantize())


def test_two_of_four_keeps_the_largest_and_leaves_such_weights_as_they_are():
    weight = torch.tensor([[1.0, -3.0, 2.0, 0.5, 0.0, 0.0, 4.0, -1.0]])
    halved = two_of_four(weight)
    assert torch.equal(halved, torch.tensor([[0.0, -3.0, 2.0, 0.0, 0.0, 0.0, 4.0, -1.0]]))
    assert torch.equal(two_of_four(halved), halved)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU was found")
def test_2_4_sparse_weights_give_the_models_outputs_by_sparse_kernels_on_a_gpu(tmp_path):
    def sparse() -> nn.Module:
        model = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
        with torch.no_grad():
            model[0].weight.copy_(two_of_four(model[0].weight))
        return model

    torch.manual_seed(0)
    model, batch, numerics = sparse(), torch.randn(64, 128), Numerics("sparse-2-4", "bf16")
    backend = Eager("cuda")
    with torch.no_grad():
        wanted = model(batch)
    backend.lower(model, batch, numerics, [], tmp_path)
    program = backend.load(tmp_path, sparse, numerics, 1)
    prepared = program.prepare(batch)
    torch.testing.assert_close(program.to_tensor(program(prepared)), wanted, rtol=5e-2, atol=5e-2)
    assert kernels_of_format("sparse-2-4", program.kernels(prepared))
