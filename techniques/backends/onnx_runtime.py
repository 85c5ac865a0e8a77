"""ONNX Runtime on the CPU: the model exported to ONNX, quantized by the runtime's own tools."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from techniques.backends.cpu_features import int8_saturates
from techniques.backends.kernels import kernels_of_onnx
from techniques.backends.onnx_file import (
    FLOATS,
    QUANTIZES_FLOATS,
    given_file,
    has_double,
    nodes_of,
    open_session,
    prepared_for_quantization,
    quantize_qdq,
    with_origin,
    write_onnx,
)
from techniques.backends.protocol import Numerics, Program, ServesOnCpu
from techniques.backends.tracing import OperatorTime, trace_onnx_runtime
from techniques.numbers import in_precision
from techniques.outputs import as_numbers, compared
from techniques.registry import CannotApply, TechniqueError

MODEL = "model.onnx"
_BLOCK = 32
_MISSING = re.compile(r"Could not find an implementation for (\w+)")
"""What ONNX Runtime says of an operator that it cannot run."""


@dataclass(frozen=True)
class OnnxProgram(Program):
    """An inference session; its inputs and outputs are NumPy arrays."""

    session: Any
    outputs: Sequence[str]  # named, as the session else asks its graph for them at every call
    model: Path
    threads: int
    disabled: Sequence[str] = ()

    def prepare(self, batch: torch.Tensor) -> dict[str, np.ndarray]:
        """Return the batch by its input's name, in the floats of the file."""
        entry = self.session.get_inputs()[0]
        fitting = in_precision(batch, FLOATS.get(entry.type, batch.dtype))
        return {entry.name: np.ascontiguousarray(fitting.numpy())}

    def __call__(self, prepared: dict[str, np.ndarray]) -> Any:
        return self.session.run(self.outputs, prepared)

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return outputs as CPU tensors, none of fewer than 32 bits."""
        return compared([as_numbers(value) for value in output])

    def kernels(self, prepared: dict[str, np.ndarray]) -> list[str]:
        """Return the operators of the graph as ONNX Runtime optimizes it."""
        return kernels_of_onnx(self.model, self.threads, self.disabled)

    def trace(self, prepared: Sequence[dict[str, np.ndarray]], calls: int, path: Path) -> list[OperatorTime]:
        """Run a session of its own under ONNX Runtime's profiler; see `trace_onnx_runtime`."""
        return trace_onnx_runtime(self.model, self.threads, prepared, calls, path, self.disabled)


class OnnxRuntime(ServesOnCpu):
    """ONNX Runtime's CPU execution provider."""

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write an ONNX file, quantized by onnxruntime.quantization.

        Raises CannotApply for complex weights, an ONNX file of another precision, a model without a layer
        that the format takes, and an operator without a kernel in these numbers; TechniqueError for what
        cannot be exported, and a format without a kernel.
        """
        path = folder / MODEL
        _refuse_double(model, numerics)
        write_onnx(model, example, path, numerics.dtype)
        calibration = (in_precision(batch, numerics.dtype) for batch in calibration)
        if numerics.format == "int4-weight":
            _quantize_weights(path, numerics.kept)
        elif numerics.format is not None:
            _quantize(path, numerics, calibration, len(example))
        _refuse_missing(path, numerics)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Open a session of so many threads on the file."""
        path = folder / MODEL
        disabled = QUANTIZES_FLOATS if numerics.kept else ()
        session = open_session(path, threads, disabled)
        names = [output.name for output in session.get_outputs()]
        return OnnxProgram(session, names, path, threads, disabled)


def _refuse_double(model: torch.nn.Module, numerics: Numerics) -> None:
    """Raise CannotApply where a file that is given computes in other floats than those it is listed under."""
    given = given_file(model)
    if given is None:
        return
    double = has_double(given)
    if double != (numerics.precision == "fp64"):
        own = "fp64" if double else "fp32"
        raise CannotApply(
            f'the file computes in {own}, not in {numerics.precision}; set precision = "{own}" in [infer]'
        )


def _refuse_missing(path: Path, numerics: Numerics) -> None:
    """Raise CannotApply that names the operator for which ONNX Runtime has no kernel in these numbers."""
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Missing

    try:
        open_session(path, 1)
    except Missing as error:
        found = _MISSING.search(str(error))
        operator = found[1] if found else error
        raise CannotApply(f"ONNX Runtime has no {numerics.precision} kernel for {operator}") from None


def _quantize(path: Path, numerics: Numerics, calibration: Iterable[torch.Tensor], batch_size: int) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Weights of 7 bits where products of 8 saturate: a perceptron's largest error fell from 11 % to 1.5 %.
    reduced = bool(int8_saturates())
    if numerics.format == "int8-static":
        options: dict[str, Any] = {"activation_type": QuantType.QUInt8, "reduce_range": reduced}
        quantize_qdq(path, calibration, batch_size, numerics, **options)
        return
    if numerics.format != "int8-dynamic":
        raise TechniqueError(f"ONNX Runtime has no kernel for {numerics.format}")
    kept = nodes_of(path, numerics.kept)
    prepared = prepared_for_quantization(path)
    options = {"per_channel": True, "weight_type": QuantType.QInt8, "reduce_range": reduced}
    left = sorted(with_origin(prepared, kept))
    left += [f"{name}_MatMul" for name in left]  # what it makes of a Gemm before it quantizes
    quantize_dynamic(str(prepared), str(path), nodes_to_exclude=left, **options)
    prepared.unlink()


def _quantize_weights(path: Path, kept: Sequence[str]) -> None:
    """Give products with constant matrices int4 weights; activations stay fp32 (accuracy level 1).

    There is no such kernel for int8 weights: ONNX Runtime (1.32) turns them into floats before each product,
    or quantizes the activations too.
    """
    import onnx

    root = logging.getLogger()
    level = root.level
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    root.setLevel(level)  # Its import makes every library write its notes.
    left = sorted(nodes_of(path, kept))
    model = onnx.load(path)
    _split_gemms(model.graph)
    quantizer = MatMulNBitsQuantizer(
        model, bits=4, block_size=_BLOCK, accuracy_level=1, nodes_to_exclude=left
    )
    quantizer.process()
    if not any(node.op_type == "MatMulNBits" for node in quantizer.model.graph().node):
        raise CannotApply(
            "the model has no layer that int4-weight applies to: products with constant matrices"
        )
    quantizer.model.save_model_to_file(str(path))


def _split_gemms(graph: Any) -> None:
    """Write each `x @ weight.T + bias` as a MatMul and an Add, which is how quantizers know products."""
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        options = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        plain = options.get("alpha", 1) == options.get("beta", 1) == 1 and not options.get("transA")
        if node.op_type != "Gemm" or not plain or node.input[1] not in weights:
            nodes.append(node)
            continue
        rows, name, *bias = node.input
        if options.get("transB"):
            transposed = numpy_helper.to_array(weights[name]).T.copy()
            name = f"{node.output[0]}_weight"
            graph.initializer.append(numpy_helper.from_array(transposed, name))
        product = f"{node.output[0]}_product" if bias else node.output[0]
        nodes.append(helper.make_node("MatMul", [rows, name], [product], name=node.name))
        if bias:
            nodes.append(helper.make_node("Add", [product, *bias], node.output))
    del graph.node[:]
    graph.node.extend(nodes)
