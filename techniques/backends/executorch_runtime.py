"""ExecuTorch on the CPU: a model exported and lowered to XNNPACK, run from its `.pte` file.

What XNNPACK does not take is run by ExecuTorch's own kernels, portable or optimized ones, of which many are
plain loops on one thread. Which kernels ran is told by ExecuTorch's event tracer (ETDump), which records each
operator of XNNPACK and of its own with its time in a call of the very file.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import tempfile
import warnings
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from techniques.backends.calibration import (
    attends,
    calibration_parts,
    is_elementwise,
    is_kept,
    quantize_pt2e,
    with_ranges,
)
from techniques.backends.onnx_file import given_file
from techniques.backends.protocol import Numerics, Program, ServesOnCpu
from techniques.backends.tracing import OperatorTime, slowest_first
from techniques.numbers import in_numbers, in_precision, refuse_complex
from techniques.outputs import as_graph, compared
from techniques.registry import CannotApply, TechniqueError

MODEL = "model.pte"
_METHOD = "forward"

_XNNPACK_NAME = re.compile(r"(?P<operator>[^(]+) \((?P<types>[^)]+)\)")
_PRODUCTS = {
    "Convolution": "Convolution",
    "Deconvolution": "Convolution",
    "Fully Connected": "FullyConnected",
    "Dynamic Fully Connected": "FullyConnected",
    "Batch Matrix Multiply": "MatMul",
}
_FLOATS = {"F32": "fp32", "PF32": "fp32", "F16": "fp16", "PF16": "fp16", "BF16": "bf16", "BF16_F32": "bf16"}
_OWN_KERNEL = "native_call_"
_CYCLES = "found dependency cycles"

Prepared = list[torch.Tensor]


@dataclass(frozen=True)
class _Event:
    """Something that ran; times in seconds on the tracer's clock."""

    name: str
    start_s: float
    seconds: float


class _Loaded:
    """A file's method. It keeps the pool of threads that there was when it was loaded.

    `program` is kept because the method runs in its memory.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self.load()

    def load(self) -> Any:
        self.program, self.method = _load(self._model)
        return self.method

    def drop(self) -> None:
        self.program = self.method = None


_ALIVE: weakref.WeakSet[_Loaded] = weakref.WeakSet()


@dataclass(frozen=True)
class ExecuTorchProgram(Program):
    """A loaded method. Inputs and outputs are tensors of PyTorch, each call's output a copy of its own."""

    loaded: _Loaded
    model: Path
    dtype: torch.dtype

    def prepare(self, batch: torch.Tensor) -> Prepared:
        """Return the method's one input, contiguous, in the program's precision."""
        return [in_precision(batch, self.dtype).contiguous()]

    def __call__(self, prepared: Prepared) -> Any:
        return (self.loaded.method or self.loaded.load()).execute(prepared)

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return outputs as CPU tensors, none of fewer than 32 bits."""
        return compared(list(output))

    def kernels(self, prepared: Prepared) -> list[str]:
        """Name XNNPACK's products with their numbers, its other operators, and those that it did not take."""
        (events,) = _traced(self.model, [prepared], 1)
        return sorted({event.name for event in events} - set(_CALLS))

    def trace(self, prepared: Sequence[Prepared], calls: int, path: Path) -> list[OperatorTime]:
        """Run the file once more under ExecuTorch's event tracer; the first call, not warm, is left out."""
        _, *runs = _traced(self.model, prepared, calls + 1)  # the first call is not warm
        path.write_text(json.dumps({"traceEvents": [_chrome(event) for run in runs for event in run]}))
        return _operator_times(itertools.chain.from_iterable(runs))


class ExecuTorch(ServesOnCpu):
    """ExecuTorch with XNNPACK, the CPU's delegate.

    All programs of a process share one pool of threads, which has the size that was asked for last.
    """

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write a .pte file: exported, quantized by PyTorch 2 export, partitioned for XNNPACK.

        Raises CannotApply for ONNX files, complex weights, int8-static from other precisions than fp32, and
        fewer calibration samples than a batch has; TechniqueError for other formats.
        """
        if given_file(model) is not None:
            raise CannotApply("executorch lowers models of PyTorch, not ONNX files")
        refuse_complex(model, "ExecuTorch")
        example = in_precision(example, numerics.dtype)
        calibration = (in_precision(batch, numerics.dtype) for batch in calibration)
        model = as_graph(in_numbers(model, numerics.dtype), example)
        with torch.no_grad(), warnings.catch_warnings():
            # PyTorch's export warns of its own code hundreds of times.
            warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
            if numerics.format is not None:
                model = _quantized(model, example, numerics, calibration)
            edge = _partitioned(model, example, numerics)
            with (folder / MODEL).open("wb") as file:
                edge.to_executorch().write_to_file(file)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read the .pte file, and give the process's one pool so many threads."""
        _set_threads(threads)
        loaded = _Loaded(folder / MODEL)
        _ALIVE.add(loaded)
        return ExecuTorchProgram(loaded, folder / MODEL, numerics.dtype)


def _set_threads(threads: int) -> None:
    """Give the pool this many threads; methods loaded before are loaded again at their next call.

    A method whose pool is gone would end the process, or wait for ever.
    """
    from executorch.extension.pybindings import portable_lib

    # The pool's own size is that of the machine, not of the CPUs that this process may use.
    if portable_lib._threadpool_get_thread_count() != threads:
        for loaded in _ALIVE:
            loaded.drop()
        portable_lib._unsafe_reset_threadpool(threads)


def _partitioned(model: torch.nn.Module, example: torch.Tensor, numerics: Numerics) -> Any:
    """Export a model, and give XNNPACK what it takes of it."""
    from executorch.backends.xnnpack.partition import xnnpack_partitioner as xnnpack

    try:
        return _edge(model, example, numerics, [xnnpack.XnnpackPartitioner()])
    except AssertionError as error:
        if numerics.format != "int8-dynamic" or _CYCLES not in str(error):
            raise
    # Where all layers of a decoder read one encoder's states, the products that share these states' scale
    # are merged with others into parts that wait for each other (ExecuTorch 1.5). Products of one scale
    # have one input, so parts of one scale each never do.
    apart = xnnpack.XnnpackDynamicallyQuantizedPartitioner(per_op_mode=True)
    return _edge(model, example, numerics, [apart, xnnpack.XnnpackPartitioner()])


def _edge(
    model: torch.nn.Module, example: torch.Tensor, numerics: Numerics, partitioners: Sequence[Any]
) -> Any:
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(model, (example,))
    if wrong := _wrong_kernels(exported, numerics.dtype):
        exported = exported.run_decompositions(wrong)
    return to_edge_transform_and_lower(exported, partitioner=list(partitioners))


def _wrong_kernels(exported: torch.export.ExportedProgram, dtype: torch.dtype) -> dict[Any, Any]:
    """Return what takes the place of operators of this program that ExecuTorch has wrong kernels for."""
    operators = {node.target for node in exported.graph.nodes}
    found: dict[Any, Any] = {torch.ops.aten.gelu.default: _gelu}
    if dtype == torch.float16:
        found[torch.ops.aten.layer_norm.default] = _layer_norm
    return {operator: right for operator, right in found.items() if operator in operators}


def _gelu(batch: torch.Tensor, approximate: str = "none") -> Any:
    """Compute GELU by tanh, as GPT-2 does: XNNPACK takes the one by erf for it, 2e-4 off (ExecuTorch 1.5)."""
    if approximate != "tanh":
        return NotImplemented
    inner = math.sqrt(2 / math.pi) * (batch + 0.044715 * batch * batch * batch)
    return 0.5 * batch * (1 + torch.tanh(inner))


def _layer_norm(
    batch: torch.Tensor,
    shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> torch.Tensor:
    """Normalize a layer in fp32, as PyTorch does: ExecuTorch's own kernel for fp16 adds up in fp16.

    Of 384 numbers around 0 it makes wrong ones, and NaN in an encoder (ExecuTorch 1.5).
    """
    weight, bias = (None if entry is None else entry.float() for entry in (weight, bias))
    return torch.native_layer_norm(batch.float(), shape, weight, bias, eps)[0].to(batch.dtype)


def _load(path: Path, **options: Any) -> tuple[Any, Any]:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path, **options)
    return program, program.load_method(_METHOD)


def _quantized(
    model: torch.nn.Module, example: torch.Tensor, numerics: Numerics, calibration: Iterable[torch.Tensor]
) -> torch.nn.Module:
    """Quantize by XNNPACK's quantizer; scales that come with the activations need no calibration."""
    if numerics.format not in ("int8-dynamic", "int8-static"):
        raise TechniqueError(f"executorch has no kernel for {numerics.format}")
    dynamic = numerics.format == "int8-dynamic"
    if not dynamic and numerics.precision != "fp32":
        raise CannotApply(f"executorch supports int8-static only with fp32, not with {numerics.precision}")
    parts = [example] if dynamic else calibration_parts(calibration, len(example))
    return quantize_pt2e(model, example, _quantizer(numerics), parts)


def _quantizer(numerics: Numerics) -> Any:
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack

    dynamic = numerics.format == "int8-dynamic"
    config = xnnpack.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
    quantizer = xnnpack.XNNPACKQuantizer().set_global(with_ranges(config, numerics.calibration))
    kept, only_products = is_kept(numerics.kept), cache(attends)

    def is_quantized(node: torch.fx.Node) -> bool:
        # The sums of a transformer's residual have few large channels, which take the whole range of a scale.
        return not kept(node) and not (is_elementwise(node) and only_products(node.graph))

    quantizer.set_filter_function(is_quantized)
    with_tensors = quantizer.transform_for_annotation

    def with_tensors_of_floats(model: torch.fx.GraphModule) -> torch.fx.GraphModule:
        # The quantizer makes a float tensor of each number that is added or multiplied, also where that makes
        # floats of indices.
        whole = {node: node.args for node in model.graph.nodes if not _is_float(node)}
        with_tensors(model)
        for node, arguments in whole.items():
            node.args = arguments
        model.graph.eliminate_dead_code()
        model.recompile()
        return model

    quantizer.transform_for_annotation = with_tensors_of_floats
    return quantizer


def _is_float(node: torch.fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _traced(model: Path, prepared: Sequence[Prepared], calls: int) -> list[list[_Event]]:
    """Run a file under ExecuTorch's event tracer; return the events of each call."""
    from executorch.devtools.etdump.serialize import deserialize_from_etdump_flatcc

    program, method = _load(model, enable_etdump=True)
    for batch in itertools.islice(itertools.cycle(prepared), calls):
        method.execute(batch)
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder, "etdump")
        program.write_etdump_result_to_file(str(dump), str(Path(folder, "debug")))
        runs = deserialize_from_etdump_flatcc(dump.read_bytes()).run_data
    events = [[_event(entry.profile_event) for entry in run.events if entry.profile_event] for run in runs]
    return [run for run in events if any(event.name == _WHOLE for event in run)]


def _event(event: Any) -> _Event:
    name = (event.name or event.delegate_debug_id_str).partition(" #")[0]
    return _Event(_kernel_name(name), event.start_time / 1e9, (event.end_time - event.start_time) / 1e9)


# A whole call, in which lie its calls of a delegate and of ExecuTorch's own kernels.
_WHOLE, _DELEGATE, _OWN = _CALLS = ("Method::execute", "DELEGATE_CALL", "OPERATOR_CALL")


def _kernel_name(name: str) -> str:
    """Return the suite's name of a kernel from ExecuTorch's.

    `Convolution (NHWC, QC8) IGEMM` is `Convolution int8`, `native_call_mean.out` is `undelegated mean`.
    """
    if name.startswith(_OWN_KERNEL):
        return "undelegated " + name.removeprefix(_OWN_KERNEL).split(".")[0]
    found = _XNNPACK_NAME.match(name)
    if found and found["operator"] in _PRODUCTS:
        return f"{_PRODUCTS[found['operator']]} {_number(found['types'].split(', ')[1:])}"
    return f"{found['operator']} ({found['types']})" if found else name


def _number(types: Sequence[str]) -> str:
    """Return what a product multiplies, from XNNPACK's types: activations, output, weights as `QC8W`."""
    activations, weights = _FLOATS.get(types[0], "int8"), types[-1]
    bits = weights[-2] if weights.endswith("W") else "8"
    if activations == "int8":
        return "int8" if bits == "8" else f"int8 with int{bits} weights"
    return f"int{bits}-weight" if weights.endswith("W") else activations


def _operator_times(events: Iterable[_Event]) -> list[OperatorTime]:
    """Add up the events of each name, slowest first; a call's time is less that of what it called."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for event in events:
        times[event.name].append(event.seconds)
    sums = {name: sum(own) for name, own in times.items()}
    own_kernels = sum(own for name, own in sums.items() if name.startswith("undelegated "))
    called = {name: sums.get(name, 0.0) for name in _CALLS}
    delegated = sum(sums.values()) - sum(called.values()) - own_kernels
    inside = {_WHOLE: called[_DELEGATE] + called[_OWN], _DELEGATE: delegated, _OWN: own_kernels}
    return slowest_first(
        OperatorTime(name, len(own), sums[name] - inside.get(name, 0.0)) for name, own in times.items()
    )


def _chrome(event: _Event) -> dict[str, Any]:
    """Return an event as Chrome's trace format has it, times in µs."""
    times = {"ts": event.start_s * 1e6, "dur": event.seconds * 1e6}
    return {"name": event.name, "ph": "X", "pid": 0, "tid": 0, **times}
