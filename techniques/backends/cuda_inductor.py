"""Inductor on an NVIDIA GPU: ahead-of-time packages of Triton kernels, and compiled training steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import torch

from techniques.backends.accelerators import fp32_arithmetic, set_fp32_arithmetic, synchronize
from techniques.backends.inductor import Inductor
from techniques.backends.kernels import kernels_of_call
from techniques.backends.protocol import Numerics, Program, TorchProgram
from techniques.backends.training import Loss, TrainingStep
from techniques.optimizers import OptimizerRow
from techniques.regime import PLAIN, Regime
from techniques.registry import Technique


class PackageProgram(TorchProgram):
    """A package's program: what its source calls, and what the GPU was seen to run."""

    def kernels(self, prepared: torch.Tensor) -> list[str]:
        """Return the kernels that the package's source names, and those that a call was seen to run."""
        return sorted({*super().kernels(prepared), *kernels_of_call(lambda: self(prepared))})


class CudaInductor(Inductor):
    """Inductor's ahead-of-time packages on the first CUDA device; training goes through `torch.compile`."""

    device = torch.device("cuda")

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Compile a package on the GPU, as `Inductor.lower` does for the CPU.

        Raises CannotApply for complex weights, and for tf32 where no GPU multiplies it.
        """
        on_device = (batch.to(self.device) for batch in calibration)
        with fp32_arithmetic(numerics.precision):
            super().lower(model.to(self.device), example.to(self.device), numerics, on_device, folder)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read the package; fp32 is multiplied as `numerics` says from then on."""
        # Products that the package leaves to cuBLAS and cuDNN are made as is set when they run.
        set_fp32_arithmetic(numerics.precision)
        program = super().load(folder, build, numerics, threads)
        assert isinstance(program, TorchProgram)
        return PackageProgram(**{field.name: getattr(program, field.name) for field in fields(program)})

    def compile_step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        regime: Regime = PLAIN,
    ) -> TrainingStep:
        """Return a step through `torch.compile`; raises CannotApply as `TorchTrainingStep.prepare` does."""
        set_fp32_arithmetic(precision)
        return super().compile_step(model, loss, optimizer, precision, regime)

    def synchronize(self) -> None:
        """Wait until the GPU has finished its queue."""
        synchronize(self.device)
