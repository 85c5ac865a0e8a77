"""Gradients of gradients, which some optimizers take now and then."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def differentiates_twice(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether an optimizer's next step takes gradients of the gradients, which then need a graph."""
    return bool(getattr(optimizer, "differentiates_twice", False))


@contextmanager
def twice_differentiable(enabled: bool) -> Iterator[None]:
    """Compute attention by operators that have second derivatives, which fused ones lack, if `enabled`."""
    with sdpa_kernel(SDPBackend.MATH) if enabled else nullcontext():
        yield


def backward(loss: torch.Tensor, *, create_graph: bool) -> None:
    """Compute gradients, with a graph for their own gradients where that is asked for.

    PyTorch warns of the cycle of references that a graph makes; clearing the gradients breaks it.
    """
    if not create_graph:
        loss.backward()
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Using backward\(\) with create_graph=True")
        loss.backward(create_graph=True)
