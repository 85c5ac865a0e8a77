"""Steps that leave the model's structure and sparsity alone."""

from __future__ import annotations

import torch

from techniques.compression.context import Context


def apply(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """Return the model unchanged."""
    return model


def finetune(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """Train on for the recovery budget: what extra training alone gives, without any compression."""
    context.recover(model)
    return model
