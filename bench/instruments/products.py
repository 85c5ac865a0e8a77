"""Products of square matrices by the libraries that are here, whose best rate is a device's ceiling.

No single library is the fastest on every CPU: on one with AVX-512, `torch.mm` reached 212 GFLOP/s in fp32, a
1 x 1 convolution (oneDNN) 421, and ONNX Runtime 500.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

Product = Callable[[], object]
Maker = Callable[[int, torch.device], Product]
"""Makes the product of two square matrices of that many rows, on that device."""

_LARGEST_SIDE = 2048
"""Rows from which weights within a model are too large to prepare for a measurement of a second."""

_WIDTH = 16


def makers(device: torch.device) -> Mapping[str, tuple[Maker, ...]]:
    """Return what multiplies by number format: TF32 is one of NVIDIA's GPUs alone."""
    fp32 = _product(torch.float32)
    found = {
        "fp32": (fp32,),
        "bf16": (_product(torch.bfloat16),),
        "fp16": (_product(torch.float16),),
        "int8": (_int8_product,),
    }
    if device.type == "cpu":
        return {**found, "fp32": (fp32, _convolution, _runtime_product)}
    if device.type == "cuda" and torch.version.hip is None:
        return {**found, "tf32": (fp32,)}
    return found


def _product(dtype: torch.dtype) -> Maker:
    def make(size: int, device: torch.device) -> Product:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty(size, size, dtype=dtype, device=device)
        return lambda: torch.mm(left, right, out=out)

    return make


def _int8_product(size: int, device: torch.device) -> Product:
    left, right = (torch.randint(-128, 127, (size, size), dtype=torch.int8, device=device) for _ in range(2))
    return lambda: torch._int_mm(left, right)


def _convolution(size: int, device: torch.device) -> Product:
    """Return the same product as a 1 x 1 convolution, channels last: `size` pixels of `size` channels."""
    weights = torch.randn(size, size, 1, 1).to(device, memory_format=torch.channels_last)
    image = torch.randn(1, size, size // _WIDTH, _WIDTH).to(device, memory_format=torch.channels_last)

    def multiply() -> torch.Tensor:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(image, weights)

    return multiply


def _runtime_product(size: int, device: torch.device) -> Product:
    """Return the product by ONNX Runtime, with as many threads as PyTorch has.

    Raises RuntimeError above `_LARGEST_SIDE`.
    """
    import onnx
    import onnxruntime

    if size > _LARGEST_SIDE:
        raise RuntimeError(f"ONNX Runtime is asked for products of up to {_LARGEST_SIDE} rows")
    left, right = torch.randn(size, size).numpy(), torch.randn(size, size).numpy()
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [size, size]) for name in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        ends[:1],
        ends[1:],
        [onnx.numpy_helper.from_array(right, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": left})
