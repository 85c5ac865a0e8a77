"""The kernels that a lowered model runs, as the runtime reports them: a format's name proves nothing."""

from __future__ import annotations

import math
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from techniques.backends.onnx_file import open_session

# What tells, in a kernel's name, that it multiplies numbers of a format. PyTorch's and oneDNN's kernels have
# names of their own, ONNX Runtime's too; other runtimes' modules name a product and its numbers themselves.
_PRODUCT = r"^(Convolution|FullyConnected|MatMul) "
_INT8 = re.compile(
    r"_int_mm|qlinear|qconv|^quantized::(linear|conv)|" + _PRODUCT + "(sparse )?int8$"
    r"|^(QLinear(Conv|MatMul)|(Conv|MatMul)Integer|DynamicQuantize(MatMul|LSTM)|MatMulIntegerToFloat"
    r"|QGemm|QAttention)( \w+)?$"
)
_PROOFS = {
    "int8-dynamic": _INT8,
    "int8-static": _INT8,
    "int8-weight": re.compile(r"^(aten::)?_weight_int8pack_mm|" + _PRODUCT + "int8-weight$"),
    "int4-weight": re.compile(
        r"^(aten::)?_weight_int4pack_mm|^MatMulNBits int4-weight$|" + _PRODUCT + "int4-weight$"
    ),
    "fp8": re.compile(r"_scaled_mm|f8f8|" + _PRODUCT + "fp8$"),
    "sparse-2-4": re.compile(r"_cslt_sparse_mm|_sparse_semi_structured"),
}
# Kernels that multiply matrices, with their numbers: of PyTorch's operators the innermost.
_NUMBERED_PRODUCT = re.compile(
    r"^(aten::(addmm|mm|bmm|baddbmm|convolution|_scaled_dot_product_\w+)|Convolution|FullyConnected|MatMul"
    r"|(Fused)?(Conv|Gemm|MatMul)) (\S+)$"
)
_PACKAGED = {"bf16": "tensors of bfloat16", "fp16": "tensors of float16"}
_NUMBERS = {
    **{"float": "fp32", "double": "fp64", "c10::BFloat16": "bf16", "c10::Half": "fp16"},
    **{"signed char": "int8", "unsigned char": "uint8"},
}
_DTYPE = re.compile(r"cached_torch_dtype_(\w+)")
_CALLED = re.compile(r"\baoti_torch_(?:cpu|cuda)_(\w+)\(|\b(?:call_)?((?:cpp|triton)_\w*fused\w*)\(")


def kernels_of_format(format_: str, kernels: Iterable[str]) -> list[str]:
    """Return those of the kernels that multiply numbers of this format, sorted.

    A runtime whose own names do not tell names its products `Convolution`, `FullyConnected` or `MatMul`, and
    their numbers after a space: `fp32`, `bf16`, `fp16`, `int8`, `fp8`, or `int8-weight` and `int4-weight`
    where such weights are multiplied with activations that are not quantized. `sparse int8`: weights are kept
    without their zeros, and unpacked as they are multiplied.
    """
    proof = _PROOFS[format_]
    return sorted({name for name in kernels if proof.search(name)})


def numbered_products(kernels: Iterable[str]) -> list[str]:
    """Return those of the kernels that multiply matrices and whose name says the number format, sorted."""
    return sorted({name for name in kernels if _NUMBERED_PRODUCT.search(name)})


def tells_precision(kernels: Iterable[str]) -> bool:
    """Say whether the names of these kernels tell the precision that a model is multiplied in."""
    listed = list(kernels)
    return bool(numbered_products(listed)) or any(name.startswith("tensors of ") for name in listed)


def kernels_of_precision(precision: str, kernels: Iterable[str]) -> list[str]:
    """Return those of the kernels that multiply matrices of this precision, sorted.

    Of a package that Inductor compiled, whose kernels have names without numbers, the type of its tensors.
    """
    listed = list(kernels)
    products = numbered_products(listed)
    if products:
        return [name for name in products if name.endswith(f" {precision}")]
    return [name for name in listed if name == _PACKAGED.get(precision)]


def kernels_of_call(call: Callable[[], object]) -> list[str]:
    """Return the operators that a call of PyTorch runs, by its profiler, with their first input's type."""
    import torch

    # Not torch.profiler, which imports a compiler for two seconds.
    from torch.autograd.profiler import profile

    device = "cuda" if torch.cuda.is_available() else None
    with profile(use_device=device, record_shapes=True) as profiled:
        call()
    results: Any = profiled.kineto_results
    events = results.events() if results is not None else []
    return sorted({_with_number(event.name(), event.dtypes()) for event in events})


def _with_number(name: str, dtypes: Iterable[str]) -> str:
    numbers = [_NUMBERS[dtype] for dtype in dtypes if dtype in _NUMBERS]
    return f"{name} {numbers[0]}" if numbers else name


def kernels_of_package(package: Path) -> list[str]:
    """Return the kernels that an AOTInductor package calls, and the types of its tensors.

    From the source that it was built from, which is kept in it.
    """
    with zipfile.ZipFile(package) as archive:
        sources = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".cpp")]
    kernels = {called or fused for source in sources for called, fused in _CALLED.findall(source)}
    types = {f"tensors of {dtype}" for source in sources for dtype in _DTYPE.findall(source)}
    return sorted(kernels | types)


def kernels_of_onnx(model: Path, threads: int, disabled: Sequence[str] = ()) -> list[str]:
    """Return the operators of the graph that ONNX Runtime makes of a file, with their weights' numbers.

    Without the `disabled` optimizers.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "optimized.onnx"))
        open_session(model, threads, disabled, optimized_model_filepath=path)
        graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    return sorted({f"{node.op_type} {_number_of_onnx(node, weights)}".rstrip() for node in graph.node})


def _number_of_onnx(node: Any, weights: Mapping[str, Any]) -> str:
    import onnx

    if node.op_type == "MatMulNBits":
        given = {entry.name: entry.i for entry in node.attribute}
        # From 4 on, activations are quantized too (ONNX Runtime, ContribOperators.md).
        return f"int{given['bits']}" + ("-weight" if given.get("accuracy_level", 0) < 4 else " with int8")
    own = [weights[name] for name in node.input if name in weights]
    largest = max(own, key=lambda tensor: math.prod(tensor.dims), default=None)
    number = onnx.TensorProto.DataType.Name(largest.data_type).lower() if largest is not None else ""
    return _ONNX_NUMBERS.get(number, number)


_ONNX_NUMBERS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16"}
