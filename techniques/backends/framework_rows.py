"""The rows of other frameworks than PyTorch, which take its models layer by layer: Keras, JAX, TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_FRAMEWORKS = "techniques.backends.frameworks"


def framework_rows(formats: Iterable[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, implementation and traits of each row; `formats` are all that any backend has."""
    only_trains: dict[str, Any] = {
        "no_kernel": dict.fromkeys(formats, "it only trains"),
        "trains": True,
        "serves": False,
        "fork_safe": False,
    }
    keras = f"{_FRAMEWORKS}.keras_backend"
    yield (
        "keras-jax",
        f"{keras}:on_jax",
        {
            "about": "Keras on JAX, on the CPU: trains the model's layers as Keras's, a step compiled by XLA",
            "needs": ("keras", "jax"),
            "install": _install("keras,jax"),
            "worker_imports": (f"{_FRAMEWORKS}.keras_jax_step",),
            **only_trains,
        },
    )
    yield (
        "keras-torch",
        f"{keras}:on_torch",
        {
            "about": "Keras on PyTorch, on the CPU: trains the model's layers as Keras's, one by one",
            "needs": ("keras", "torch"),
            "install": _install("keras"),
            "worker_imports": (f"{_FRAMEWORKS}.keras_torch_step",),
            **only_trains,
        },
    )
    yield (
        "keras-tensorflow",
        f"{keras}:on_tensorflow",
        {
            "about": "Keras on TensorFlow, on the CPU: trains the model's layers as Keras's, as a graph",
            "needs": ("keras", "tensorflow"),
            "install": _install("keras,tensorflow"),
            "worker_imports": (f"{_FRAMEWORKS}.keras_tensorflow_step",),
            **only_trains,
        },
    )
    yield (
        "jax",
        f"{_FRAMEWORKS}.flax_backend:Flax",
        {
            "about": "JAX on the CPU: trains the model's layers as Flax's (NNX) by optax, compiled by XLA",
            "needs": ("jax", "flax", "optax"),
            "install": _install("jax"),
            "worker_imports": (f"{_FRAMEWORKS}.flax_step",),
            **only_trains,
        },
    )
    not_tested = "no quantizer of TensorFlow is used here; use tflite"
    yield (
        "tensorflow",
        f"{_FRAMEWORKS}.tensorflow_serving:TensorFlow",
        {
            "about": "TensorFlow on the CPU: the model's layers as Keras's, in a SavedModel",
            "needs": ("tensorflow", "keras"),
            "install": _install("tensorflow"),
            "worker_imports": (f"{_FRAMEWORKS}.tensorflow_start",),
            "no_kernel": dict.fromkeys(formats, not_tested),
            "fork_safe": False,
        },
    )
    int8 = ("int8-dynamic", "int8-static")
    yield (
        "tflite",
        f"{_FRAMEWORKS}.litert:LiteRt",
        {
            "about": "LiteRT (TensorFlow Lite) on the CPU: the model's layers as Keras's, in a .tflite file",
            "needs": ("ai_edge_litert", "tensorflow", "keras"),
            "install": _install("tensorflow"),
            "worker_imports": ("ai_edge_litert.interpreter",),
            "formats": dict.fromkeys(int8, "TensorFlow's converter for LiteRT"),
            "no_kernel": {
                name: "its converter is not asked for it here" for name in formats if name not in int8
            },
            "fork_safe": False,
        },
    )


def _install(extras: str) -> str:
    return f"pip install 'dl-efficiency-bench[{extras}]'"
