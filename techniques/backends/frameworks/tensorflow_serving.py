"""TensorFlow on the CPU: a SavedModel, whose function is a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from techniques.backends.frameworks.weights import host
from techniques.backends.protocol import Numerics, Program, ServesOnCpu
from techniques.backends.tracing import OperatorTime
from techniques.numbers import in_precision
from techniques.outputs import compared
from techniques.registry import CannotApply, TechniqueError

MODEL = "saved_model"

_PRODUCTS = {"Conv2D": "Convolution", "MatMul": "MatMul", "BatchMatMulV2": "MatMul", "Einsum": "MatMul"}


class TensorFlow(ServesOnCpu):
    """Serves a SavedModel, which Keras writes of layers with the weights of PyTorch's."""

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write a SavedModel for the example's shape.

        Raises CannotApply as `served_model` does, TechniqueError for any format.
        """
        if numerics.format is not None:
            raise TechniqueError(f"TensorFlow has no kernel for {numerics.format}")
        from techniques.backends.frameworks.keras_serving import served_model

        served_model(model, example).export(str(folder / MODEL), format="tf_saved_model", verbose=False)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Load the SavedModel, for this many threads."""
        from techniques.backends.frameworks.tensorflow_start import start, tf

        start(threads)
        return TensorFlowProgram(tf, tf.saved_model.load(str(folder / MODEL)))


@dataclass(frozen=True)
class TensorFlowProgram(Program):
    """A loaded SavedModel. Images are laid out for it beforehand, channels last."""

    tf: Any
    loaded: Any

    def prepare(self, batch: torch.Tensor) -> Any:
        """Return the batch as a tensor of TensorFlow."""
        return self.tf.convert_to_tensor(host(in_precision(batch, torch.float32)))

    def __call__(self, prepared: Any) -> Any:
        return self.loaded.serve(prepared)

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return the output as a CPU tensor."""
        return compared([torch.from_numpy(output.numpy().copy())])

    def kernels(self, prepared: Any) -> list[str]:
        """Return the graph's operators, products by what they are and their numbers."""
        graph = self.loaded.signatures["serving_default"].graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        names = {node.op for node in nodes}
        return sorted(f"{_PRODUCTS[name]} fp32" if name in _PRODUCTS else name for name in names)

    def trace(self, prepared: Sequence[Any], calls: int, path: Path) -> list[OperatorTime]:
        """Raise CannotApply: TensorFlow's profiler writes what only its TensorBoard plug-in reads."""
        raise CannotApply("TensorFlow's profiler writes what only its TensorBoard plug-in reads")
