"""Which kernels a lowered model really runs, read from the runtime: the format in its name proves nothing."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from techniques.backends.onnx_session import open_session
from techniques.backends.tracing import profiled_activities

# Of kernels that multiply int8: PyTorch's and oneDNN's, ONNX Runtime's.
_INT8 = re.compile(
    r"_int_mm|int8pack_mm|qlinear|qconv|^quantized::(linear|conv)"
    r"|^(QLinear(Conv|MatMul)|(Conv|MatMul)Integer|DynamicQuantizeMatMul|MatMulIntegerToFloat|QGemm)$"
)
_CALLED = re.compile(r"\baoti_torch_(?:cpu|cuda)_(\w+)\(|\b((?:cpp|triton)_\w*fused\w*)\(")


def multiply_int8(kernels: Iterable[str]) -> list[str]:
    """Return those of the kernels that multiply int8 numbers, sorted."""
    return sorted({name for name in kernels if _INT8.search(name)})


def kernels_of_call(call: Callable[[], object]) -> list[str]:
    """Return the operators that a call of PyTorch runs, by torch.profiler."""
    from torch.profiler import profile

    with profile(activities=profiled_activities()) as profiled:
        call()
    return sorted({str(event.key) for event in profiled.key_averages()})


def kernels_of_package(package: Path) -> list[str]:
    """Return the kernels that an AOTInductor package calls, from the source it was built from, kept in it."""
    with zipfile.ZipFile(package) as archive:
        sources = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".cpp")]
    return sorted({called or fused for source in sources for called, fused in _CALLED.findall(source)})


def kernels_of_onnx(model: Path, threads: int) -> list[str]:
    """Return the operators of the graph that ONNX Runtime makes of a file when it loads it."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "optimized.onnx"))
        open_session(model, threads, optimized_model_filepath=path)
        optimized = onnx.load(path)
    return sorted({node.op_type for node in optimized.graph.node})
