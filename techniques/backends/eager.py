"""PyTorch without a compiler: each operator is called as the model's code comes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from techniques.backends.accelerators import set_fp32_arithmetic, synchronize, torch_device
from techniques.backends.protocol import Numerics, Program, TorchProgram
from techniques.backends.torchao_formats import fill_weights, quantize, save_weights
from techniques.backends.training import (
    AS_IT_COMES,
    Loss,
    TorchTrainingStep,
    TrainingOptions,
    TrainingStep,
    with_layout,
)
from techniques.numbers import in_numbers
from techniques.optimizers import OptimizerRow
from techniques.regime import PLAIN, Regime
from techniques.registry import Technique

if TYPE_CHECKING:
    from techniques.parallel.step import Spread

WEIGHTS = "weights.safetensors"


class Eager:
    """Eager PyTorch on one device; its lowered file is the weights in their final number format."""

    def __init__(self, device: str, options: TrainingOptions = AS_IT_COMES) -> None:
        self.device = torch_device(device)
        self.options = options

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write the weights in their final numbers.

        Raises CannotApply where the model has no layer that the format takes, or the device no kernel for it.
        """
        save_weights(self._convert(model, numerics), folder / WEIGHTS)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Build the model, convert it as `lower` did, and fill in its weights."""
        model = self._filled(folder, build, numerics)
        return TorchProgram(model, self.device, numerics.dtype, channels_last=self.options.channels_last)

    def compile_step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        regime: Regime = PLAIN,
        spread: Spread | None = None,
    ) -> TrainingStep:
        """Return a step of eager PyTorch, of one rank of several where it is `spread` over devices.

        Raises CannotApply as `TorchTrainingStep.prepare` and `Spread.step` do.
        """
        set_fp32_arithmetic(precision)
        prepare = TorchTrainingStep.prepare if spread is None else spread.step
        return prepare(model, loss, optimizer, self.device, precision, self.options, regime)

    def synchronize(self) -> None:
        """Wait until the device has finished its queue."""
        synchronize(self.device)

    def _filled(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics
    ) -> torch.nn.Module:
        """Return the model that `lower` wrote, in its layout and fp32 arithmetic for running."""
        set_fp32_arithmetic(numerics.precision)
        model = fill_weights(self._convert(build().eval(), numerics), folder / WEIGHTS)
        return with_layout(model, self.options)

    def _convert(self, model: torch.nn.Module, numerics: Numerics) -> torch.nn.Module:
        model = in_numbers(model, numerics.dtype, self.device)
        return model if numerics.format is None else quantize(model, numerics.format, numerics.kept)


def cpu(**options: Any) -> Eager:
    """Return eager PyTorch on the CPU, with these `TrainingOptions`."""
    return Eager("cpu", TrainingOptions(**options))


def cuda(**options: Any) -> Eager:
    """Return eager PyTorch on the first CUDA device, with these `TrainingOptions`."""
    return Eager("cuda", TrainingOptions(**options))


def rocm(**options: Any) -> Eager:
    """Return eager PyTorch on the first AMD GPU, with these `TrainingOptions`."""
    return Eager("rocm", TrainingOptions(**options))


def mps(**options: Any) -> Eager:
    """Return eager PyTorch on an Apple GPU, with these `TrainingOptions`."""
    return Eager("mps", TrainingOptions(**options))


def xpu(**options: Any) -> Eager:
    """Return eager PyTorch on the first Intel GPU, with these `TrainingOptions`."""
    return Eager("xpu", TrainingOptions(**options))
