"""OpenVINO on the CPU: the model as its IR, quantized or with compressed weights by NNCF."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
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
from techniques.backends.protocol import Numerics, Program, ServesOnCpu
from techniques.backends.signal_stack import keeping_signal_stack
from techniques.backends.tracing import OperatorTime, slowest_first
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
_NUMBERS = {"f32": "fp32", "f16": "fp16", "u8": "int8", "i8": "int8", "u4": "int4", "i4": "int4"}
_PRODUCTS = ("Convolution", "FullyConnected", "MatMul")
_NO_KERNEL = ("Const", "Input", "Output", "Reshape")


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
        return trace_request(compiled.create_infer_request(), prepared, calls, path)


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

    Source: `FullyConnected::useSparseWeightsDecompression` of OpenVINO's CPU plugin: int8 products, by AMX.
    """
    if rate >= DENSE:
        return
    if format_ != "int8-static":
        numbers = format_ or "floats"
        raise CannotApply(f"sparse_weights: OpenVINO unpacks weights of int8-static only, not of {numbers}")
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
    products = {kernel for kernel in ran if kernel.startswith(_PRODUCTS)}
    unquantized = not products or any(kernel.endswith(f" {numerics.precision}") for kernel in products)
    if not (kernels_of_format(numerics.format, ran) if numerics.format else unquantized):
        wanted = " in ".join(filter(None, (numerics.format, numerics.precision)))
        why = int8_saturates() if numerics.format == "int8-dynamic" else ""
        here = f"here ({why})" if why else "here"
        raise CannotApply(f"OpenVINO has no {wanted} kernel for this model {here}; it runs {', '.join(ran)}")


def kernels_of_compiled(compiled: Any, model: Path, config: Mapping[str, str]) -> list[str]:
    """Return the operators that the CPU plugin runs, with the numbers that they compute in.

    From its runtime model, which tells numbers and compressed weights, but not whether activations are
    quantized as they come: where that is asked for, from oneDNN's log.
    """
    names = set()
    for operator in compiled.get_runtime_model().get_ops():
        info = operator.get_rt_info()
        layer = info["layerType"].astype(str)
        if layer not in _NO_KERNEL:
            names.add(f"{layer} {_numbers(operator, layer, info['primitiveType'].astype(str))}")
    if config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] != "0":
        logged = products_of_log(_log_of_compiling(model, config))
        names = names - {"FullyConnected int8-weight"} | logged if logged else names
    return sorted(names)


def _numbers(operator: Any, layer: str, primitive: str) -> str:
    """Return a primitive's numbers, as `fp32`; of a product with compressed weights, as `int8-weight`."""
    suffix = primitive.rpartition("_")[2].lower()
    number = _NUMBERS.get(suffix, suffix)
    if layer in _PRODUCTS and number != "int8":
        weights = operator.input(1).get_element_type()
        if weights.is_integral():
            return f"int{weights.bitwidth}-weight"
    return number


_PRODUCT = re.compile(r",create:\w+,cpu,(?:inner_product|matmul),.*\bsrc:(?:f32|bf16|f16):.*\bwei:[us](\d):")


def products_of_log(log: str) -> set[str]:
    """Return the products of floating-point activations with integer weights in a log of oneDNN.

    oneDNN as OpenVINO builds it notes how many activations share a scale where it quantizes them.
    """
    quantized = "src_dyn_quant_group_size:"
    return {
        f"FullyConnected int{product[1]}" + ("" if quantized in line else "-weight")
        for line in log.splitlines()
        if (product := _PRODUCT.search(line)) is not None
    }


# A process of its own, as oneDNN looks only once, before its first primitive, whether to log. It logs what is
# created: of what is executed it was seen to leave lines out, the same ones each time for a file.
_COMPILE = """
import json, sys
sys.modules["openvino_telemetry"] = None
import openvino
openvino.Core().compile_model(sys.argv[1], "CPU", json.loads(sys.argv[2]))
"""


def _log_of_compiling(model: Path, config: Mapping[str, str]) -> str:
    command = [sys.executable, "-c", _COMPILE, str(model), json.dumps(dict(config))]
    logging_on = {**os.environ, "ONEDNN_VERBOSE": "profile_create"}
    done = subprocess.run(command, env=logging_on, check=False, capture_output=True, text=True)
    if done.returncode:
        how = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise RuntimeError(f"the process that logs what OpenVINO compiles has failed: {how}")
    return done.stdout


def trace_request(request: Any, inputs: Sequence[Any], calls: int, path: Path) -> list[OperatorTime]:
    """Run a new request that counts its operators' times; write a Chrome trace; return them, slowest first.

    The plugin keeps the mean of an operator over all calls, in whole microseconds, not when each ran: the
    trace shows one mean call, operator after operator. The first call, which is not warm, is taken out.
    """
    request.infer(inputs[0], share_inputs=True)
    first = [entry.real_time.total_seconds() for entry in request.profiling_info]
    for number in range(calls):
        request.infer(inputs[number % len(inputs)], share_inputs=True)
    events, start_s = [], 0.0
    times: defaultdict[str, list[float]] = defaultdict(list)
    layers: defaultdict[str, list[str]] = defaultdict(list)
    for entry, first_s in zip(request.profiling_info, first, strict=True):
        if entry.status != entry.Status.EXECUTED:
            continue
        total_s = max(0.0, entry.real_time.total_seconds() * (calls + 1) - first_s)
        name = f"{entry.node_type} {entry.exec_type}"
        times[name].append(total_s)
        layers[name].append(entry.node_name)
        when = {"ph": "X", "pid": 0, "tid": 0, "ts": start_s * 1e6, "dur": total_s / calls * 1e6}
        events.append({"name": name, **when, "args": {"node": entry.node_name, "mean_of_calls": calls}})
        start_s += total_s / calls
    path.write_text(json.dumps({"traceEvents": events}))
    return slowest_first(
        OperatorTime(name, calls * len(own), sum(own), tuple(layers[name])) for name, own in times.items()
    )
