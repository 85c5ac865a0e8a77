"""Workloads of a model that is served as given, without training data.

Their quality is the share of answers that stay those of the model that was given, or, where its outputs are
values such as embeddings, the cosine to them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.errors import StageError
from bench.instruments.onnx_reading import tensors
from bench.workloads.exported_file import load_program
from bench.workloads.input_files import input_files
from bench.workloads.onnx_inputs import fixed_batch, inputs_of, read_array, read_inputs
from bench.workloads.onnx_model import OnnxModel, first_line_of_runtime
from bench.workloads.workload import Data, Workload
from techniques.registry import CannotApply, load_reference

SAMPLES = 64
"""Number of random inputs: enough for a few batches."""


def workload(
    model: Callable[[], torch.nn.Module],
    inputs: torch.Tensor,
    outputs: str = "",
    fixed_batch: int | None = None,
    targets: torch.Tensor | None = None,
) -> Workload:
    """Return the workload of a model that is served as given, with inputs of shape (samples, ...).

    `outputs` says what its outputs are, see `Workload`. `fixed_batch` is the one batch size that it takes.
    With `targets`, shape (samples, ...), the share of right answers is measured too. The loss raises
    CannotApply: there is no training data.
    """
    inputs = inputs.detach()
    known = torch.zeros(len(inputs)) if targets is None else targets

    def no_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise CannotApply("this workload serves a model as given: it has no training data")

    return Workload(
        data=lambda: Data(inputs, known, inputs, known),
        transform=lambda batch: batch,
        model=model,
        loss=no_loss,
        quality=None,
        outputs=outputs,
        fixed_batch=fixed_batch,
        has_targets=targets is not None,
    )


def declared(scores: bool, outputs: str) -> str:
    """Return the declared kind of outputs: `scores=false` means values."""
    return outputs or ("" if scores else "values")


def module(factory: str, scores: bool = True, outputs: str = "") -> Workload:
    """Return the workload of what `factory`, a reference to a function, returns: a model and its inputs.

    The inputs are a tensor (samples, ...); samples are taken in turn, and again where there are too few.
    Raises StageError where the function returns something else, TechniqueError where it does not exist.
    """
    made = load_reference(factory)()
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module)):
        raise StageError(f"{factory} returns {_described(made)}; it must return (nn.Module, example inputs)")
    if not isinstance(made[1], torch.Tensor):
        raise StageError(f"{factory}: its example inputs must be one tensor, got {_described(made[1])}")
    return workload(lambda: load_reference(factory)()[0], made[1], declared(scores, outputs))


class Exported(torch.nn.Module):
    """A program of torch.export as a module that is always in evaluation mode."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.program = load_program(path).module()

    def train(self, mode: bool = True) -> Exported:
        """Change nothing: a program is exported in one mode."""
        return self

    def forward(self, batch: torch.Tensor) -> Any:
        """Return the program's outputs for a batch (batch, ...)."""
        return self.program(batch)


def exported(file: str, scores: bool = True, outputs: str = "", targets: str = "") -> Workload:
    """Return the workload of a file that torch.export.save wrote, at the example inputs that it holds.

    `targets` names a .npy file with a target for each answer. Raises StageError where the file could run
    code and is not trusted, where it is no such file, where its example inputs are not one tensor, and where
    the targets cannot be read.
    """
    path = existing(file)
    program = load_program(path)
    kept: Any = program.example_inputs
    arguments, keywords = ([], {}) if kept is None else (list(kept[0]), kept[1])
    if len(arguments) != 1 or keywords or not isinstance(arguments[0], torch.Tensor):
        raise StageError(f"{file}: its example inputs must be one tensor")
    return workload(
        lambda: Exported(path),
        arguments[0],
        declared(scores, outputs),
        exported_batch(program),
        read_array(targets, "targets") if targets else None,
    )


def exported_batch(program: torch.export.ExportedProgram) -> int | None:
    """Return the one batch size that a program of one input takes, None where it takes any."""
    (name,) = program.graph_signature.user_inputs
    node = next(node for node in program.graph.nodes if node.name == name)
    size: Any = node.meta["val"].shape[0] if node.meta["val"].dim() else None
    fixed: int | None = size.node.maybe_as_int() if isinstance(size, torch.SymInt) else size
    return fixed


def onnx_file(file: str, scores: bool = True, inputs: str = "", outputs: str = "") -> Workload:
    """Return the workload of an ONNX file with one input, at random samples or those of a .npy file.

    Where its batch is fixed it is served at that batch only. Raises StageError where the file is incomplete,
    keeps its weights in others or has several inputs, and where the samples do not fit it.
    """
    path = existing(file)
    _refuse_weights_elsewhere(path)
    entries = OnnxModel(path)._session.get_inputs()
    if inputs and len(entries) == 1:
        samples = read_inputs(inputs, path, entries[0])
    else:
        samples = inputs_of(path, entries, SAMPLES)
    return workload(lambda: OnnxModel(path), samples, declared(scores, outputs), fixed_batch(entries[0]))


def _refuse_weights_elsewhere(path: Path) -> None:
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # whatever reading a file raises that is no ONNX graph
        raise StageError(f"{path}: is not a complete ONNX file: {first_line_of_runtime(error)}") from None
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors(model)):
        raise StageError(
            f"{path}: keeps its weights in other files; save it as one file (external_data=False)"
        )


def torchvision_model(model: str, size: int) -> Workload:
    """Return the workload of a model that torchvision knows by name, untrained, at square images.

    Inputs are (samples, 3, size, size), outputs (samples, classes). Raises ValueError for an unknown name.
    """
    vision = importlib.import_module("torchvision.models")
    return workload(lambda: vision.get_model(model, weights=None), drawn(3, size, size), "scores:1")


def timm_model(model: str, size: int) -> Workload:
    """Return the workload of a model that timm knows by name, untrained, at square images.

    Inputs are (samples, 3, size, size), outputs (samples, classes). Raises RuntimeError for an unknown name.
    """
    timm = importlib.import_module("timm")
    return workload(lambda: timm.create_model(model, pretrained=False), drawn(3, size, size), "scores:1")


def drawn(*sizes: int) -> torch.Tensor:
    """Return normal random inputs of shape (`SAMPLES`, *sizes), the same each time."""
    return torch.randn(SAMPLES, *sizes, generator=torch.Generator().manual_seed(0))


def existing(file: str) -> Path:
    """Return the path of a file that is there, and not too large to be a model.

    Raises StageError where it is not there, BenchError where it is too large.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise StageError(f"{file}: no such file")
    input_files(path)
    return path


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return f"a {type(value).__name__} of {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
