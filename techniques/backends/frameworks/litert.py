"""LiteRT (TensorFlow Lite) on the CPU: a `.tflite` file, run by XNNPACK where that has the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from techniques.backends.calibration import calibration_parts
from techniques.backends.frameworks.weights import host
from techniques.backends.protocol import Numerics, Program, ServesOnCpu
from techniques.backends.tracing import OperatorTime
from techniques.numbers import in_precision
from techniques.outputs import compared
from techniques.registry import CannotApply, TechniqueError

MODEL = "model.tflite"

_PRODUCTS = {
    "CONV_2D": "Convolution",
    "DEPTHWISE_CONV_2D": "Convolution",
    "FULLY_CONNECTED": "FullyConnected",
    "BATCH_MATMUL": "MatMul",
}
_FORMATS = ("int8-dynamic", "int8-static")
_SECOND = 1
"""A product's weights among its inputs."""


class LiteRt(ServesOnCpu):
    """Serves a `.tflite` file, which TensorFlow's converter writes of Keras's layers."""

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write a `.tflite` file for the example's shape.

        `int8-dynamic` has weights of 8 bits, activations are quantized as they come; `int8-static` has ranges
        from the calibration batches. Raises CannotApply as `served_model` does, and where the converter has
        no kernel; TechniqueError for other formats.
        """
        if numerics.format not in (None, *_FORMATS):
            raise TechniqueError(f"LiteRT has no kernel for {numerics.format}")
        from techniques.backends.frameworks.keras_serving import served_model

        net = served_model(model, example)
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_keras_model(net)
        if numerics.format is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if numerics.format == "int8-static":
            batches = list(calibration_parts(calibration, len(example)))

            def representative() -> Iterator[list[np.ndarray[Any, Any]]]:
                return ([host(in_precision(batch, torch.float32))] for batch in batches)

            converter.representative_dataset = representative
            of_int8, others = tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS
            converter.target_spec.supported_ops = [of_int8, others]
        (folder / MODEL).write_bytes(converter.convert())

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Load the file for this many threads."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(folder / MODEL), num_threads=threads)
        interpreter.allocate_tensors()
        (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
        return LiteRtProgram(interpreter, given["index"], wanted["index"])


@dataclass(frozen=True)
class LiteRtProgram(Program):
    """A loaded file with one input and one output. Images are laid out for it beforehand, channels last."""

    interpreter: Any
    given: int
    wanted: int

    def prepare(self, batch: torch.Tensor) -> np.ndarray[Any, Any]:
        """Return the batch as an array."""
        return host(in_precision(batch, torch.float32))

    def __call__(self, prepared: np.ndarray[Any, Any]) -> Any:
        self.interpreter.set_tensor(self.given, prepared)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.wanted)

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return the output as a CPU tensor."""
        return compared([torch.from_numpy(np.array(output))])

    def kernels(self, prepared: np.ndarray[Any, Any]) -> list[str]:
        """Return the file's operators, products by what they are and the numbers of their weights.

        LiteRT's products of floats with weights of 8 bits quantize their activations first.
        """
        found = set()
        for operator in self.interpreter._get_ops_details():
            name, types = operator["op_name"], operator["operand_types"]
            if name not in _PRODUCTS:
                found.add(name)
                continue
            is_int8 = len(types) > _SECOND and np.dtype(types[_SECOND]) == np.int8
            found.add(f"{_PRODUCTS[name]} {'int8' if is_int8 else 'fp32'}")
        return sorted(found)

    def trace(self, prepared: Sequence[np.ndarray[Any, Any]], calls: int, path: Path) -> list[OperatorTime]:
        """Raise CannotApply: LiteRT's profiler is not in its Python package."""
        raise CannotApply("LiteRT's profiler is not in its Python package")
