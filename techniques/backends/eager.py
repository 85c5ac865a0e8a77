"""PyTorch without a compiler: each operator is called as the model's code comes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from techniques.backends.protocol import Numerics, Program, TorchProgram
from techniques.backends.torchao_int8 import fill_weights, quantize_dynamic, save_weights
from techniques.registry import TechniqueError

WEIGHTS = "weights.safetensors"


class Eager:
    """Eager PyTorch on one device; its lowered file is the weights in their final number format."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        save_weights(self._convert(model, numerics), folder / WEIGHTS)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        model = fill_weights(self._convert(build().eval(), numerics), folder / WEIGHTS)
        return TorchProgram(model, self.device, numerics.dtype)

    def prepare_training(self, model: torch.nn.Module) -> torch.nn.Module:
        return model.to(self.device)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _convert(self, model: torch.nn.Module, numerics: Numerics) -> torch.nn.Module:
        model = model.to(self.device, numerics.dtype)
        if numerics.format is None:
            return model
        if numerics.format == "int8-dynamic":
            return quantize_dynamic(model)
        raise TechniqueError(f"eager PyTorch has no kernel for {numerics.format}")


def cpu() -> Eager:
    """Return eager PyTorch on the CPU."""
    return Eager("cpu")


def cuda() -> Eager:
    """Return eager PyTorch on the first CUDA device."""
    return Eager("cuda")
