"""PyTorch's Inductor, ahead of time: the model becomes a shared library, packaged with its weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from techniques.backends.calibration import calibration_parts, quantize_pt2e, with_ranges
from techniques.backends.cpu_features import int8_saturates
from techniques.backends.protocol import Numerics, Program, TorchProgram
from techniques.backends.torchao_formats import quantize
from techniques.backends.training import (
    Loss,
    TorchTrainingStep,
    TrainingOptions,
    TrainingStep,
    laid_out,
    with_layout,
)
from techniques.layers import within
from techniques.numbers import in_numbers, in_precision, refuse_complex
from techniques.optimizers import OptimizerRow
from techniques.outputs import as_graph
from techniques.regime import PLAIN, Regime
from techniques.registry import Technique

PACKAGE = "model.pt2"

_STATIC = Numerics("int8-static", "fp32")

# Freezing folds and prepacks the weights, which makes a small CNN about 1.1 times as fast. One compile
# thread keeps compilation inside the worker, so that nothing outlives it. Assertions of sizes, which packages
# leave out unless an environment variable asks, write addresses of this process into the code: without them
# models of one structure get the same code, compiled once.
_CONFIG = {"freezing": True, "compile_threads": 1, "size_asserts": False}


class Inductor:
    """Inductor's ahead-of-time packages on the CPU; training goes through `torch.compile`."""

    device = torch.device("cpu")

    def __init__(self, **options: Any) -> None:
        self.options = TrainingOptions(**options)

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Compile a package for the CPU (AOTInductor), with its weights folded in.

        Raises CannotApply for complex weights, and where the format's kernel takes no layer of the model.
        """
        import torch._inductor.config

        with torch.no_grad(), torch._inductor.config.patch(_config()):
            refuse_complex(model, "a package that Inductor compiles")
            model = with_layout(in_numbers(model, numerics.dtype), self.options)
            example = laid_out(in_precision(example, numerics.dtype), self.options.channels_last)
            model = as_graph(model, example)
            program = _export(model, example, numerics, calibration)
            torch._inductor.aoti_compile_and_package(program, package_path=str(folder / PACKAGE))

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read the package; `build` and `threads` are not used: PyTorch's threads are the process's."""
        package: Any = torch._inductor.aoti_load_package(str(folder / PACKAGE))
        return TorchProgram(
            package, self.device, numerics.dtype, folder / PACKAGE, self.options.channels_last
        )

    def compile_step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        regime: Regime = PLAIN,
    ) -> TrainingStep:
        """Return a step through `torch.compile`; raises CannotApply as `TorchTrainingStep.prepare` does."""
        return TorchTrainingStep.prepare(
            model, loss, optimizer, self.device, precision, self.options, regime, compiled
        )

    def synchronize(self) -> None:
        """Do nothing: the CPU has finished when a call returns."""
        return


def packaged(
    model: torch.nn.Module, example: tuple[torch.Tensor, ...], sizes: tuple[Any, ...], path: Path
) -> None:
    """Compile a model into a package, for the sizes of its inputs that are dynamic.

    What the exporter can't prove of all sizes, the package checks at each call: of keys that several queries
    share, it can't prove 32 (n + 1) <= 96 (n + 1) (PyTorch 2.13).
    """
    import torch._inductor.config

    with torch.no_grad(), torch._inductor.config.patch(_config()):
        program = torch.export.export(
            model,
            example,
            dynamic_shapes=sizes,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))


def compiled(model: torch.nn.Module) -> torch.nn.Module:
    """Return a model that is compiled, forward and backward, as it is first called."""
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1
    called: Any = torch.compile(model)
    returned: torch.nn.Module = called
    return returned


def _config() -> dict[str, Any]:
    if "CCACHE_DIR" not in os.environ:
        return _CONFIG
    # What includes a precompiled header is not ccache's to keep (ccache manual, "Precompiled headers").
    headers = {"cpp_cache_precompile_headers": False, "aot_inductor.precompile_headers": False}
    return {**_CONFIG, **headers}


def _export(
    model: torch.nn.Module, example: torch.Tensor, numerics: Numerics, calibration: Iterable[torch.Tensor]
) -> torch.export.ExportedProgram:
    if numerics.format is None:
        return torch.export.export(model, (example,))
    if numerics.format == "int8-static":
        return torch.export.export(quantize_static(model, example, calibration, numerics), (example,))
    from torchao.utils import unwrap_tensor_subclass

    quantized = quantize(model, numerics.format, numerics.kept)
    return torch.export.export(unwrap_tensor_subclass(quantized), (example,))


def quantize_static(
    model: torch.nn.Module,
    example: torch.Tensor,
    calibration: Iterable[torch.Tensor],
    numerics: Numerics = _STATIC,
) -> torch.nn.Module:
    """Quantize by PyTorch 2 export, with scales from the calibration batches cut to the example's size.

    Where oneDNN's products of int8 saturate, activations take 7 bits. With 8, six layers of a transformer
    came to a cosine of 0.996, not 0.99997. Raises CannotApply for fewer samples than the example has. Source:
    torchao's X86InductorQuantizer.
    """
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    reduced = bool(int8_saturates(within_onednn=True))
    config = x86.get_default_x86_inductor_quantization_config(reduce_range=reduced)
    quantizer = x86.X86InductorQuantizer().set_global(with_ranges(config, numerics.calibration))
    for name in within(model, numerics.kept):
        quantizer.set_module_name_qconfig(name, None)
    return quantize_pt2e(model, example, quantizer, calibration_parts(calibration, len(example)))
