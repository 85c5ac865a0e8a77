"""How a model becomes an ONNX file, and how one is quantized and opened, wherever that is done."""

from __future__ import annotations

import ast
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from techniques.backends.calibration import calibration_parts
from techniques.backends.numerics import Numerics
from techniques.layers import covers
from techniques.numbers import in_numbers, in_precision, refuse_complex
from techniques.outputs import as_graph
from techniques.registry import TechniqueError

FLOATS = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
"""What ONNX Runtime calls the types of floats that an input may have."""

_INPUT = "input"
_NO_OPTIONS: Mapping[str, Any] = {}

PRODUCTS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""What is quantized of a model that attends. ONNX Runtime's default takes the sums of the residual and the
layer norms too: their few large channels take the whole range of a scale."""

_SHAPES_OF_FUSED = ("gemm_input_shape", "gemm_output_shape")
"""How the names begin of the shapes around a product that was fused with the sum after it."""

_METHODS = {"auto": "MinMax", "min-max": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""Names in ONNX Runtime of the ways to find ranges."""
_BINS = 2048

QUANTIZES_FLOATS = ("WeightBiasQuantization",)
"""Optimizers of ONNX Runtime (1.32) that give float weights 8 bits where their inputs have 8."""
_SCALE_OF_MASKS = 1e4
"""Numbers up to 1e6 at 8 bits, more than activations come to and less than what stands for minus infinity."""


def given_file(model: torch.nn.Module) -> Path | None:
    """Return the ONNX file that a model stands for, None where it is PyTorch's own."""
    given: Path | None = getattr(model, "onnx_file", None)
    return given


def has_double(file: Path) -> bool:
    """Say whether a file computes in double: whether its input or one of its weights is."""
    import onnx

    graph = onnx.load(str(file), load_external_data=False).graph
    kinds = [entry.type.tensor_type.elem_type for entry in graph.input]
    return onnx.TensorProto.DOUBLE in [*kinds, *(tensor.data_type for tensor in graph.initializer)]


def write_onnx(
    model: torch.nn.Module, example: torch.Tensor, path: Path, dtype: torch.dtype = torch.float32
) -> None:
    """Export a model with floats of that type, at the shape of `example`, or copy the file it stands for.

    Raises TechniqueError that says what could not be exported, CannotApply for complex weights.
    """
    given = given_file(model)
    if given is not None:
        shutil.copyfile(given, path)
        return
    refuse_complex(model, "ONNX")
    example = in_precision(example, dtype)
    model = as_graph(in_numbers(model, dtype), example)
    names = [_INPUT]
    try:
        program = torch.onnx.export(model, (example,), input_names=names, dynamo=True, verbose=False)
    except torch.onnx.errors.OnnxExporterError as error:
        raise TechniqueError(f"cannot be exported to ONNX: {_first_cause(error)}") from error
    assert program is not None  # as it is without a path
    _share_equal_weights(program)
    _forget_paths(program)
    program.save(path, external_data=False)


def _forget_paths(program: torch.onnx.ONNXProgram) -> None:
    """Remove the stack traces of nodes: by the paths in them a file's size depends on where the code lies."""
    for node in program.model.graph.all_nodes():
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)


def _share_equal_weights(program: torch.onnx.ONNXProgram) -> None:
    """Keep weights that are equal once: of tied ones the exporter transposes each for itself."""
    from onnx_ir.convenience import replace_all_uses_with

    graph = program.model.graph
    first: dict[tuple[Any, ...], Any] = {}
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.size == 0 or value in (*graph.inputs, *graph.outputs):
            continue
        content = hashlib.sha256(tensor.tobytes()).digest()
        kept = first.setdefault((tensor.dtype, tuple(tensor.shape), content), value)
        if kept is not value:
            replace_all_uses_with(value, kept)
            del graph.initializers[name]


def _first_cause(error: BaseException) -> str:
    """Return the line that matters: an exporter wraps what stopped it, and tells how to report that."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


def fix_batch(path: Path, shape: Sequence[int]) -> None:
    """Give a file's one input this shape, in place, where it leaves the batch open."""
    import onnx
    from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed

    model = onnx.load(path)
    weights = {weight.name for weight in model.graph.initializer}  # old files list them as inputs too
    name = next(entry.name for entry in model.graph.input if entry.name not in weights)
    make_input_shape_fixed(model.graph, name, list(shape))
    onnx.save(model, path)


def prepared_for_quantization(path: Path) -> Path:
    """Return a file beside this one, with shapes inferred and constants folded, as quantizers want it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_suffix(".prepared.onnx")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    _rename_shapes(prepared)
    return prepared


def _rename_shapes(path: Path) -> None:
    """Rename the shapes that ONNX Runtime (1.32) has put into a file, in place.

    It gives those that it adds when it opens the quantized file the same names, and fails.
    """
    import onnx

    model = onnx.load(path)
    names = {
        weight.name: f"prepared_{weight.name}"
        for weight in model.graph.initializer
        if weight.name.startswith(_SHAPES_OF_FUSED)
    }
    if not names:
        return
    for weight in model.graph.initializer:
        weight.name = names.get(weight.name, weight.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    onnx.save(model, path)


def quantize_qdq(
    path: Path,
    calibration: Iterable[torch.Tensor],
    batch_size: int,
    numerics: Numerics,
    extra_options: Mapping[str, Any] = _NO_OPTIONS,
    **options: Any,
) -> None:
    """Quantize a file in place, weights per channel, by pairs of operators (QDQ) with calibrated scales.

    Layers in modules that `numerics` keeps stay floats, and operators with masks among their numbers (minus
    infinity where attention must not look): at a scale that takes those in, all others are 0. Where a model
    attends, products alone are quantized. `options` are those of `onnxruntime.quantization.quantize_static`.
    """
    from onnxruntime import quantization

    name = open_session(path, 1).get_inputs()[0].name
    parts = [{name: part.numpy()} for part in calibration_parts(calibration, batch_size)]
    kept = nodes_of(path, numerics.kept)
    prepared = prepared_for_quantization(path)
    if attends(prepared):
        options = {"op_types_to_quantize": PRODUCTS, **options}
        extra_options = {"OpTypesToExcludeOutputQuantization": PRODUCTS, **extra_options}
    method = _METHODS[numerics.calibration]
    if method == "Percentile":
        cut = {"CalibPercentile": 100 * (1 - 2 * numerics.cut_share), "CalibTensorRangeSymmetric": False}
        extra_options = {**cut, **extra_options}
    fixed = {
        **{"quant_format": quantization.QuantFormat.QDQ, "per_channel": True},
        **{"weight_type": quantization.QuantType.QInt8, "extra_options": extra_options},
        "calibrate_method": getattr(quantization.CalibrationMethod, method),
    }
    left = with_origin(prepared, kept)
    while True:
        feeds = iter(parts)
        reader = SimpleNamespace(get_next=lambda feeds=feeds: next(feeds, None))
        with redirect_stdout(StringIO()), _fine_histograms():  # some ways of calibration print
            quantization.quantize_static(
                str(prepared), str(path), reader, nodes_to_exclude=sorted(left), **fixed, **options
            )
        found = _at_scale_of_masks(path, prepared) - left
        if not found:
            break
        left |= found
    prepared.unlink()


@contextmanager
def _fine_histograms() -> Iterator[None]:
    """Let calibration by entropy search among 2048 bins for its range, as in TensorRT (Migacz 2017).

    With ONNX Runtime's default of as many bins as it quantizes to, 128, the range is always that of min-max,
    and `quantize_static` passes no other number on (1.32).
    """
    quantize = import_module("onnxruntime.quantization.quantize")  # its package has a function of that name
    make = quantize.create_calibrator

    def with_more_bins(
        *arguments: Any, extra_options: Mapping[str, Any] = _NO_OPTIONS, **options: Any
    ) -> Any:
        own = {"num_bins": _BINS, **extra_options}
        return make(*arguments, extra_options=own, **options)

    quantize.create_calibrator = with_more_bins  # type: ignore[attr-defined]
    try:
        yield
    finally:
        quantize.create_calibrator = make  # type: ignore[attr-defined]


def nodes_of(path: Path, kept: Sequence[str]) -> set[str]:
    """Return the names of the nodes that an exported file has of these modules of its model."""
    import onnx

    if not kept:
        return set()
    found = set()
    for node in onnx.load(path).graph.node:
        noted = {entry.key: entry.value for entry in node.metadata_props}
        scopes = ast.literal_eval(noted.get("pkg.torch.onnx.name_scopes", "[]"))
        if any(covers(kept, scope) for scope in scopes[:-1]):  # the last one is the node's own name
            found.add(node.name)
    return found


def attends(path: Path) -> bool:
    """Say whether a file has attention: an operator for it, or a softmax that is no output."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    outputs = {entry.name for entry in graph.output}
    return any(
        node.op_type in ("Attention", "MultiHeadAttention")
        or (node.op_type == "Softmax" and outputs.isdisjoint(node.output))
        for node in graph.node
    )


def with_origin(path: Path, names: Iterable[str]) -> set[str]:
    """Return the names of the nodes that ONNX Runtime made of these: fused ones begin with their origin's."""
    import onnx

    origins = set(names)
    return {node.name for node in onnx.load(path).graph.node if node.name.partition("/")[0] in origins}


def _at_scale_of_masks(quantized: Path, prepared: Path) -> set[str]:
    """Return the names of a file's operators that read or write what was quantized at the scale of a mask."""
    import onnx
    from onnx import numpy_helper

    scales = onnx.load(quantized).graph.initializer
    wide = {
        tensor.name.removesuffix("_scale")
        for tensor in scales
        if tensor.name.endswith("_scale") and not (numpy_helper.to_array(tensor) < _SCALE_OF_MASKS).all()
    }
    nodes = onnx.load(prepared).graph.node
    return {node.name for node in nodes if node.name and wide & {*node.input, *node.output}}


def open_session(model: Path, threads: int, disabled: Sequence[str] = (), **options: Any) -> Any:
    """Return an inference session on the CPU, without the `disabled` optimizers of the runtime.

    `options` are attributes of `SessionOptions`.

    Raises whatever ONNX Runtime raises of a file that it cannot load.
    """
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(
        str(model), chosen, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
    )
