"""Backends that train, and leave serving to others."""

from __future__ import annotations

from typing import Any

import torch

from techniques.registry import CannotApply


class TrainsOnCpu:
    """Base of backends that only train, on the CPU, and have finished when a step returns."""

    device = torch.device("cpu")

    def lower(self, *arguments: object) -> None:
        """Raise CannotApply: what was trained is a model of PyTorch again, which others serve."""
        raise CannotApply(f"{type(self).__name__} only trains")

    def load(self, *arguments: object) -> Any:
        """Raise CannotApply."""
        raise CannotApply(f"{type(self).__name__} only trains")

    def synchronize(self) -> None:
        """Do nothing: the CPU has finished when a step returns."""
        return
