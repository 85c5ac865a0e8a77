"""OpenVINO on the CPU: the model as its IR, quantized or with compressed weights by NNCF."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from techniques.backends.cpu_features import cpu_features, int8_saturates
from techniques.backends.kernels import kernels_of_format
from techniques.backends.nncf_formats import quantize, shares_of_zeros
from techniques.backends.onnx_file import given_file
from techniques.backends.openvino_kernels import (
    PRODUCTS,
    kernels_of_compiled,
    products_in_subgraphs,
    trace_request,
)
from techniques.backends.protocol import Numerics, Program, ServesOnCpu
from techniques.backends.signal_stack import keeping_signal_stack
from techniques.backends.tracing import OperatorTime
from techniques.numbers import in_numbers, in_precision, refuse_complex
from techniques.outputs import as_graph, as_numbers, compared
from techniques.registry import CannotApply

# OpenVINO and NNCF report their use over the network, unasked and from threads of their own, as they are
# imported. Both do without where the package that sends is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
from openvino.frontend import OpConversionFailure  # noqa: E402

MODEL = "model.xml"
ZEROS = "zeros.json"
"""The share of zeros in each weight, where time depends on it: models that differ in it share no timing."""

SPARSE_WEIGHTS, DENSE = "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE", 1.0
"""A property of the plugin: from which share of zeros on a weight is kept sparse. At 1 none is."""

# Numbers of an activation that share a scale, OpenVINO's own default; 0 leaves activations as they are, which
# is not the default: compressed weights alone would quantize them.
_ACTIVATIONS_PER_SCALE = {"int8-dynamic": "32"}

_FLOATS = {"f16": torch.float16, "f32": torch.float32, "f64": torch.float64}
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


@dataclass(frozen=True)
class OpenVinoProgram(Program):
    """A compiled model with one inference request. Its output is a view that the next call overwrites."""

    compiled: Any
    request: Any
    model: Path
    config: Mapping[str, str]

    def prepare(self, batch: torch.Tensor) -> Any:
        """Return the batch as OpenVINO's tensor, in the floats of the graph's input; its memory is shared."""
        fitting = in_precision(
            batch, _FLOATS.get(self.compiled.inputs[0].element_type.to_string(), batch.dtype)
        )
        return openvino.Tensor(np.ascontiguousarray(fitting.numpy()), shared_memory=True)

    def __call__(self, prepared: Any) -> Any:
        # The binding's own method: the one before it looks up how to convert an input, for 3 to 12 us. By
        # position, for 2 us less than by name: the output is shared, and no strings are decoded.
        bound: Any = super(openvino.InferRequest, self.request)
        return bound.infer(prepared, True, False)

    def latest_call_s(self) -> float:
        """Return the seconds of the latest inference, as its request has counted them."""
        return float(self.request.latency) / 1e3

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return outputs as CPU tensors, none of fewer than 32 bits."""
        return compared([as_numbers(output[port]) for port in self.compiled.outputs])

    def kernels(self, prepared: Any) -> list[str]:
        """Return the operators that the plugin runs; see `kernels_of_compiled`."""
        return kernels_of_compiled(self.compiled, self.model, self.config)

    def trace(self, prepared: Sequence[Any], calls: int, path: Path) -> list[OperatorTime]:
        """Compile once more with counters of time and run; see `trace_request`."""
        compiled = compile_model(self.model, {**self.config, "PERF_COUNT": "YES"})
        fused = products_in_subgraphs(compiled, self.model)
        return trace_request(compiled.create_infer_request(), prepared, calls, path, fused)


class OpenVino(ServesOnCpu):
    """OpenVINO's CPU plugin.

    Weights of int8 products with at least a share of `sparse_weights` zeros are kept without the zeros, and
    unpacked as they are multiplied; 1 does so with none.
    """

    def __init__(self, sparse_weights: float = DENSE) -> None:
        self.sparse_weights = sparse_weights

    @keeping_signal_stack()
    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write OpenVINO's IR, quantized by NNCF.

        Raises CannotApply for complex weights, fewer calibration samples than a batch has, and where the CPU
        or the plugin computes no product in the precision or format, or reads no sparse weights where that is
        asked for; TechniqueError for other formats.
        """
        refuse_sparse_weights(self.sparse_weights, numerics.format)
        refuse_precision(numerics.precision)
        graph = _convert(model, example)
        if numerics.format is not None:
            graph = quantize(graph, numerics, calibration, len(example))
        openvino.save_model(graph, folder / MODEL, compress_to_fp16=False)
        refuse_other_numbers(folder / MODEL, numerics)
        if self.sparse_weights < DENSE:
            (folder / ZEROS).write_text(json.dumps(shares_of_zeros(graph)))

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Compile the IR for this CPU, with so many threads and one stream."""
        config = configuration(numerics, threads, self.sparse_weights)
        compiled = compile_model(folder / MODEL, config)
        return OpenVinoProgram(compiled, compiled.create_infer_request(), folder / MODEL, config)


def configuration(numerics: Numerics, threads: int, sparse_weights: float = DENSE) -> dict[str, str]:
    """Return the CPU plugin's properties: one stream, and no numbers but those that are asked for."""
    sparse = {SPARSE_WEIGHTS: str(sparse_weights)} if sparse_weights < DENSE else {}
    return {
        **sparse,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": _HINTS[numerics.precision],
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": _ACTIVATIONS_PER_SCALE.get(numerics.format or "", "0"),
        "CACHE_DIR": "",
    }


@keeping_signal_stack()
def compile_model(model: Path, config: Mapping[str, str]) -> Any:
    """Return an IR compiled for the CPU with these properties."""
    return openvino.Core().compile_model(str(model), "CPU", dict(config))


def refuse_precision(precision: str) -> None:
    """Raise CannotApply where OpenVINO has no instructions of this CPU for a precision."""
    if precision.upper() not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise CannotApply(f"this CPU has no instructions for {precision} that OpenVINO uses")


def refuse_sparse_weights(rate: float, format_: str | None) -> None:
    """Raise CannotApply where the plugin would not unpack sparse weights at all, though a rate is set.

    Source: `useSparseWeightsDecompression` of OpenVINO's CPU plugin: int8 products by AMX, of weights
    (outputs, inputs) of which 64 divides both.
    """
    if rate >= DENSE:
        return
    if format_ not in (None, "int8-static"):  # floats stay dense, to be compared with
        raise CannotApply(f"sparse_weights: OpenVINO unpacks weights of int8-static only, not of {format_}")
    if "AMX int8" not in cpu_features().cpu:
        raise CannotApply("sparse_weights: OpenVINO unpacks sparse weights by AMX, which this CPU lacks")


def _convert(model: torch.nn.Module, example: torch.Tensor) -> Any:
    """Return a model, or the ONNX file that it stands for, as OpenVINO's, at the example's shape."""
    given = given_file(model)
    if given is None:
        refuse_complex(model, "OpenVINO")
        example = in_precision(example, torch.float32)
        model = as_graph(in_numbers(model, torch.float32), example)
        return converted(model, example, input=[tuple(example.shape)])
    read = openvino.Core().read_model(str(given))
    read.reshape(list(example.shape))
    return read


def converted(model: torch.nn.Module, example: Any, **options: Any) -> Any:
    """Return a PyTorch model as OpenVINO's, traced with example inputs.

    Raises CannotApply that names the operators which OpenVINO has no rule for.
    """
    with _without_nested_tensors(), _without_differences(), _named_operators():
        return openvino.convert_model(model, example_input=example, **options)


@contextmanager
def _without_nested_tensors() -> Iterator[None]:
    """Keep PyTorch's transformer layers from their fast path for padded samples: it cannot be traced."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


@contextmanager
def _named_operators() -> Iterator[None]:
    """Raise CannotApply that names the operators which OpenVINO has no rule for."""
    try:
        yield
    except OpConversionFailure as error:
        unknown = re.search(r"No conversion rule found for operations: (.+)", str(error))
        if unknown is None:
            raise
        raise CannotApply(f"OpenVINO has no rule to convert {unknown[1].strip()}") from error


@contextmanager
def _without_differences() -> Iterator[None]:
    """Let `torch.diff` be a subtraction: OpenVINO 2026.4 has no rule for the operator, and transformers asks
    by it whether sequences are packed."""
    whole, method = torch.diff, torch.Tensor.diff
    torch.diff = torch.Tensor.diff = _difference  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        torch.diff, torch.Tensor.diff = whole, method  # type: ignore[method-assign]


def _difference(
    input: torch.Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: torch.Tensor | None = None,
    append: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the differences of neighbours along an axis, as `torch.diff` does."""
    found = torch.cat([part for part in (prepend, input, append) if part is not None], dim)
    for _ in range(n):
        length = found.shape[dim] - 1
        later, earlier = found.narrow(dim, 1, length), found.narrow(dim, 0, length)
        found = later ^ earlier if found.dtype == torch.bool else later - earlier
    return found


def refuse_other_numbers(model: Path, numerics: Numerics) -> None:
    """Raise CannotApply where none of the products that the plugin chooses has the numbers asked for."""
    config = configuration(numerics, threads=1)
    ran = kernels_of_compiled(compile_model(model, config), model, config)
    products = {kernel for kernel in ran if kernel.startswith(PRODUCTS)}
    unquantized = not products or any(kernel.endswith(f" {numerics.precision}") for kernel in products)
    if not (kernels_of_format(numerics.format, ran) if numerics.format else unquantized):
        wanted = " in ".join(filter(None, (numerics.format, numerics.precision)))
        why = int8_saturates() if numerics.format == "int8-dynamic" else ""
        here = f"here ({why})" if why else "here"
        raise CannotApply(f"OpenVINO has no {wanted} kernel for this model {here}; it runs {', '.join(ran)}")
