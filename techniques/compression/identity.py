"""Steps that leave the model's structure and sparsity alone."""

from __future__ import annotations

import torch

from techniques.compression import pruning
from techniques.compression.context import Context


def apply(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """Return the model unchanged."""
    return model


def finetune(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """Train on for the recovery budget: what extra training alone gives, without any compression.

    After a pruning it trains on the weights that are left.
    """
    pruning.recover(model, context)
    return model
