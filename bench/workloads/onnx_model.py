"""An ONNX file as a module of PyTorch: what all that is made of it is held against."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from bench.errors import StageError
from bench.instruments.onnx_parameters import onnx_parameter_counts
from techniques.outputs import as_numbers

_PLACE_IN_SOURCE = re.compile(r"/\S*onnxruntime\S+:\d+ .*\) (?=[A-Z])")

SAME_NUMBERS = ("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice")
"""Operators that change no number."""


class OnnxModel(torch.nn.Module):
    """An ONNX file run by ONNX Runtime, as a module without parameters; `onnx_file` is where it lies.

    Raises StageError where ONNX Runtime cannot load it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        from onnxruntime import InferenceSession

        self.onnx_file = path
        try:
            self._session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # whatever a file that is no model of its raises
            raise StageError(
                f"{path}: ONNX Runtime cannot load it: {first_line_of_runtime(error)}"
            ) from error

    def parameter_counts(self) -> tuple[int, int | None]:
        """Return how many numbers the file's weights are, and how many of them are not zero, if known."""
        return onnx_parameter_counts(self.onnx_file)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxModel:
        return OnnxModel(self.onnx_file)

    def last_operator(self, output: str) -> str:
        """Return the operator that makes the output of that name, or the only one, reshapes left out."""
        return _last_operator(self.onnx_file, output or self._session.get_outputs()[0].name)

    def forward(self, batch: torch.Tensor) -> Any:
        """Return the only output, or all by their names, for a batch (batch, ...) on the CPU."""
        name = self._session.get_inputs()[0].name
        found = self._session.run(None, {name: batch.detach().numpy()})
        names = [entry.name for entry in self._session.get_outputs()]
        outputs = {key: as_numbers(value) for key, value in zip(names, found, strict=True)}
        return outputs[names[0]] if len(names) == 1 else outputs


def _last_operator(path: Path, output: str) -> str:
    """Return the operator that makes an output of a file, reshapes and casts left out; empty if unknown."""
    import onnx

    made = {
        name: node
        for node in onnx.load(str(path), load_external_data=False).graph.node
        for name in node.output
    }
    while output in made and made[output].op_type in (*SAME_NUMBERS, "Gather") and made[output].input:
        output = made[output].input[0]
    return made[output].op_type if output in made else ""


def first_line_of_runtime(error: Exception) -> str:
    """Return the first line of an error of ONNX Runtime, less the place in its source that it names."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return _PLACE_IN_SOURCE.sub(" ", text)[:300]
