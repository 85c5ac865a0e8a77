"""A model of PyTorch as one of Keras on TensorFlow, to be served."""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import torch

from techniques.backends.frameworks.exported import Exported
from techniques.backends.frameworks.keras_layers import functional
from techniques.backends.frameworks.tensorflow_start import start
from techniques.backends.onnx_file import given_file
from techniques.numbers import in_numbers, in_precision, refuse_complex
from techniques.outputs import as_graph
from techniques.registry import CannotApply


def served_model(model: torch.nn.Module, example: torch.Tensor) -> Any:
    """Return a model of Keras, on TensorFlow, that gives the model's outputs for the example's shape.

    Raises CannotApply for ONNX files, complex weights, several outputs, and layers without a counterpart.
    """
    if keras.config.backend() != "tensorflow":
        raise CannotApply(f"this process has Keras on {keras.config.backend()}; it must be on TensorFlow")
    if given_file(model) is not None:
        raise CannotApply("TensorFlow is given PyTorch's layers here; an ONNX file is unsupported")
    refuse_complex(model, "TensorFlow")
    start(torch.get_num_threads())
    keras.config.set_floatx("float32")
    example = in_precision(example, torch.float32)
    model = as_graph(in_numbers(model, torch.float32), example)
    net, _ = functional(model, Exported(model, (example,), "the model"), example)
    return net
