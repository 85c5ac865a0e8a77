"""What an ONNX file is served at: random inputs where its graph tells what they may be, or a file's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.errors import StageError
from bench.workloads.onnx_model import SAME_NUMBERS
from techniques.backends.onnx_file import FLOATS

if TYPE_CHECKING:
    import onnx

_WHOLE = {
    "tensor(uint8)": torch.uint8,
    "tensor(int8)": torch.int8,
    "tensor(int16)": torch.int16,
    "tensor(int32)": torch.int32,
    "tensor(int64)": torch.int64,
}
_HOW = "give the inputs in a file: inputs=samples.npy"


def inputs_of(path: Path, entries: list[Any], samples: int) -> torch.Tensor:
    """Return inputs (samples, ...) for a file's one input, the same each time.

    Floats are normal random numbers; bytes are evenly spread, as those of pixels; integers are rows of
    the table that the graph looks them up in. Raises StageError where nothing tells what they may be.
    """
    if not entries:
        raise StageError(f"{path}: has no input")
    (entry, *others) = entries
    sizes = entry.shape[1:]
    if others or not entry.shape or not all(isinstance(size, int) for size in sizes):
        names = ", ".join(f"{each.name} {each.shape}" for each in entries)
        how = "" if others else f"; {_HOW}"
        raise StageError(
            f"{path}: must have one input with fixed sizes except for the batch, got {names[:150]}{how}"
        )
    generator = torch.Generator().manual_seed(0)
    if entry.type in FLOATS:
        return torch.randn(samples, *sizes, generator=generator).to(FLOATS[entry.type])
    dtype = _WHOLE.get(entry.type)
    bounds = None if dtype is None else _bounds(path, entry.name, dtype)
    if dtype is None or bounds is None:
        raise StageError(
            f"{path}: the valid values of its input {entry.name} of {entry.type} are unknown; {_HOW}"
        )
    return torch.randint(*bounds, (samples, *sizes), generator=generator, dtype=dtype)


def read_inputs(file: str, path: Path, entry: Any) -> torch.Tensor:
    """Return the inputs (samples, ...) that a .npy file holds, for an ONNX file's input.

    Raises StageError where it cannot be read, is of another type or shape, or holds no sample.
    """
    inputs = read_array(file, "inputs")
    wanted = FLOATS.get(entry.type) or _WHOLE.get(entry.type)
    fits = len(entry.shape) == inputs.dim() and all(
        not isinstance(size, int) or size == own
        for size, own in zip(entry.shape[1:], inputs.shape[1:], strict=True)
    )
    if not fits or inputs.dtype != wanted or not len(inputs):
        raise StageError(
            f"inputs={file}: must be {entry.type} of shape {entry.shape}, as {path} takes it, got "
            f"{str(inputs.dtype).removeprefix('torch.')} of shape {list(inputs.shape)}"
        )
    return inputs


def read_array(file: str, setting: str) -> torch.Tensor:
    """Return what a .npy file holds; raises StageError, which names the setting, where it cannot be read."""
    try:
        # Mapped first: a header that says more than the file holds is refused, not allocated.
        array = np.load(Path(file).expanduser(), mmap_mode="r", allow_pickle=False)
        return torch.from_numpy(np.array(array, order="C"))
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise StageError(f"{setting}={file}: cannot be read as a .npy file: {_line(error)}") from None


def fixed_batch(entry: Any) -> int | None:
    """Return the one batch size that an input takes, None where it takes any."""
    size = entry.shape[0] if entry.shape else None
    return size if isinstance(size, int) else None


def _bounds(path: Path, name: str, dtype: torch.dtype) -> tuple[int, int] | None:
    """Return the least integer that an input may hold, and one more than the largest."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    tables = list(_tables(graph, name))
    if tables:
        return (0, min(tables)) if min(tables) > 0 else None
    if dtype.itemsize > 1:
        return None
    info = torch.iinfo(dtype)
    return info.min, info.max + 1


def _tables(graph: onnx.GraphProto, name: str) -> Iterator[int]:
    """Yield how many rows each table has that the graph looks these numbers up in, 0 for one unknown."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            held = [tuple(entry.t.dims) for entry in node.attribute if entry.HasField("t")]
            shapes.update(zip(node.output, held, strict=False))
    names = {name}
    for node in graph.node:  # which are in an order where what is read was made before
        if node.op_type in SAME_NUMBERS and node.input and node.input[0] in names:
            names.update(node.output)
        elif node.op_type in ("Gather", "GatherElements") and len(node.input) > 1 and node.input[1] in names:
            yield _rows(node, shapes)


def _rows(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
    shape = shapes.get(node.input[0], ())
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
