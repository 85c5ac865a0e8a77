"""How a model becomes an ONNX file, and how one is quantized and opened, wherever that is done."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from techniques.backends.calibration import calibration_parts
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
    return prepared


def quantize_qdq(path: Path, calibration: Iterable[torch.Tensor], batch_size: int, **options: Any) -> None:
    """Quantize a file in place, weights per channel, by pairs of operators (QDQ) with calibrated scales.

    Operators with masks among their numbers (minus infinity where attention must not look) stay floats: at a
    scale that takes those in, all others are 0. `options` are those of
    `onnxruntime.quantization.quantize_static`.
    """
    from onnxruntime import quantization

    name = open_session(path, 1).get_inputs()[0].name
    parts = [{name: part.numpy()} for part in calibration_parts(calibration, batch_size)]
    prepared = prepared_for_quantization(path)
    masked: set[str] = set()
    while True:
        feeds = iter(parts)
        quantization.quantize_static(
            str(prepared),
            str(path),
            SimpleNamespace(get_next=lambda feeds=feeds: next(feeds, None)),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=sorted(masked),
            **options,
        )
        found = _at_scale_of_masks(path, prepared) - masked
        if not found:
            break
        masked |= found
    prepared.unlink()


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


def open_session(model: Path, threads: int, **options: Any) -> Any:
    """Return an inference session on the CPU; `options` are attributes of `SessionOptions`.

    Raises whatever ONNX Runtime raises of a file that it cannot load.
    """
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(str(model), chosen, providers=["CPUExecutionProvider"])
