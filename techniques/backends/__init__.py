"""The table of backends: hardware and the runtime that executes a model on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from techniques.registry import Registry, Row


@dataclass(frozen=True)
class BackendRow(Row):
    """Which hardware it is, and what it can do there.

    `formats` maps each format with real kernels to what implements them; `no_kernel` says why another has
    none. `precisions` are the dtypes it computes in, `trains` whether it can train. `lowering_imports` and
    `running_imports` are modules that a fork server imports ahead of its workers, for lowering and for
    running; `worker_imports` start threads as they are imported, so each worker does it by itself.
    `fork_safe` is false where the runtime must start in a process of its own. `training_only` names settings
    that say how it trains, and nothing of how it serves.
    """

    device: Literal["cpu", "cuda", "mps", "xpu", "tpu"] = "cpu"
    formats: Mapping[str, str] = field(default_factory=dict)
    no_kernel: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[str, ...] = ("fp32",)
    trains: bool = False
    lowering_imports: tuple[str, ...] = ()
    running_imports: tuple[str, ...] = ()
    worker_imports: tuple[str, ...] = ()
    fork_safe: bool = True
    training_only: tuple[str, ...] = ()

    def cannot_lower(self, format_: str | None, precision: str) -> str | None:
        """Say why this backend cannot run that format or precision, or None where it can."""
        if precision not in self.precisions:
            return f"{self.name} computes in {', '.join(self.precisions)}, not in {precision}"
        if format_ is not None and format_ not in self.formats:
            why = self.no_kernel.get(format_, "")
            return f"{self.name} has no kernel for {format_}" + (f": {why}" if why else "")
        return None

    def cannot_train(self, precision: str) -> str | None:
        """Say why this backend cannot train in that precision, or None where it can."""
        if not self.trains:
            return f"{self.name} runs models but does not train them"
        return self.cannot_lower(None, precision)


BACKENDS: Registry[BackendRow] = Registry("backend", BackendRow, entry_points="bench.backends")

_add = BACKENDS.add

_TRAINING: Any = {
    "defaults": {"channels_last": False, "accumulate": 1, "checkpoint": False},
    "ranges": {"accumulate": "[1, inf)"},
    "training_only": ("accumulate", "checkpoint"),
}

_EAGER_STATIC = "PyTorch's int8 static kernels run only in compiled graphs; use cpu-inductor or onnxruntime"

_add(
    "cpu-eager",
    "techniques.backends.eager:cpu",
    about="PyTorch, one operator after the other, on the CPU",
    needs=("torch", "torchao"),
    install="pip install torch torchao",
    lowering_imports=("torchao.quantization",),
    formats={"int8-dynamic": "torchao"},
    no_kernel={"int8-static": _EAGER_STATIC},
    precisions=("fp32", "bf16"),
    trains=True,
    **_TRAINING,
)
_add(
    "cpu-inductor",
    "techniques.backends.inductor:Inductor",
    about="PyTorch compiled ahead of time by Inductor into C++ for the CPU",
    needs=("torch", "torchao"),
    install="pip install torch torchao",
    lowering_imports=(
        "torch._inductor.compile_fx",
        "torch._inductor.package",
        "torchao.quantization.pt2e.quantize_pt2e",
        "torchao.quantization.pt2e.quantizer.x86_inductor_quantizer",
    ),
    running_imports=("torch._inductor.package",),
    formats={"int8-dynamic": "torchao", "int8-static": "PT2E, X86InductorQuantizer"},
    precisions=("fp32", "bf16"),
    trains=True,
    **_TRAINING,
    check="techniques.backends.hardware:without_cpp_compiler",
)
_add(
    "onnxruntime",
    "techniques.backends.onnx_runtime:OnnxRuntime",
    about="ONNX Runtime's CPU provider",
    needs=("onnxruntime", "onnx", "onnxscript"),
    install="pip install onnxruntime onnx onnxscript",
    lowering_imports=("onnx", "onnxscript", "torch.onnx"),
    worker_imports=("onnxruntime",),
    formats={"int8-dynamic": "onnxruntime.quantization", "int8-static": "onnxruntime.quantization, QDQ"},
)
_add(
    "cuda-eager",
    "techniques.backends.eager:cuda",
    about="PyTorch, one operator after the other, on an NVIDIA GPU",
    needs=("torch", "torchao"),
    install="pip install torch torchao",
    device="cuda",
    formats={"int8-dynamic": "torchao"},
    no_kernel={"int8-static": "PyTorch has no eager int8 static kernels on CUDA"},
    precisions=("fp32", "bf16", "fp16"),
    trains=True,
    **_TRAINING,
    fork_safe=False,
    check="techniques.backends.hardware:without_cuda",
)
