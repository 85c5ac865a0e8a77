"""A compression that makes a smaller model and does not say so, as another's plug-in may."""

from __future__ import annotations

import torch

from techniques.compression import COMPRESSIONS
from techniques.compression.context import Context

COMPRESSIONS.add("silent", f"{__file__}:apply", about="A quarter of the channels, declared as no change")


def apply(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    return context.student(0.25)
