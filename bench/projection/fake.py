"""Models without memory: parameters become PyTorch's fake tensors, whose operators compute shapes alone.

They say that they are on the CPU. There attention runs as one operator that keeps no scores, as the fused
kernels of GPUs do; on the meta device PyTorch would choose the one that keeps them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench.instruments.replacing import replaced

Containers = (nn.ModuleList, nn.Sequential)


def as_fake(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Replace the parameters and buffers of a model, on any device, by fake ones; tied ones stay tied.

    Floating-point ones get `dtype`. Call it inside the FakeTensorMode that the model will run in.
    """
    made: dict[int, torch.Tensor] = {}

    def replace(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            kind = dtype if tensor.is_floating_point() else tensor.dtype
            fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=kind, device="cpu")
            is_parameter = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
        return made[id(tensor)]

    for module in model.modules():
        own: Any
        for own in (module._parameters, module._buffers):
            own.update({name: replace(tensor) for name, tensor in own.items() if tensor is not None})
    return model


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model: entries of its outermost lists that hold two or more of one class.

    They are what is usually checkpointed, gathered together by FSDP, and split over stages of a pipeline.
    """
    found: list[nn.Module] = []
    for child in model.children():
        own = _blocks_of(child) if isinstance(child, Containers) else []
        found += own or repeated_blocks(child)
    return found or (_blocks_of(model) if isinstance(model, Containers) else [])


def _blocks_of(container: nn.Module) -> list[nn.Module]:
    entries = [entry for entry in container.children() if any(True for _ in entry.children())]
    kinds = Counter(type(entry) for entry in entries)
    return [entry for entry in entries if kinds[type(entry)] > 1]


@contextmanager
def checkpointed(blocks: list[nn.Module]) -> Iterator[None]:
    """Have each block keep its input alone and run again in the backward pass (Chen et al. 2016)."""
    for block in blocks:
        again: Any = partial(
            checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False, determinism_check="none"
        )
        block.forward = again
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def fused_attention() -> AbstractContextManager[None]:
    """Run attention without dropout inside of it: the CPU's fused kernel has none, a GPU's does."""
    attention = nn.functional.scaled_dot_product_attention

    def fused(*args: Any, **kwargs: Any) -> torch.Tensor:
        return attention(*args, **{**kwargs, "dropout_p": 0.0} if "dropout_p" in kwargs else kwargs)

    return replaced(nn.functional, "scaled_dot_product_attention", fused)


@contextmanager
def taken_for_real() -> Iterator[None]:
    """Have transformers treat fake tensors as real ones: as it traces, it makes masks that no text needs."""
    masks = sys.modules.get("transformers.masking_utils")
    changed: tuple[tuple[str, Any], ...] = (
        ("find_packed_sequence_indices", lambda position_ids: None),
        ("is_tracing", lambda tensor=None: False),
    )
    with ExitStack() as stack:
        for name, by in changed:
            if hasattr(masks, name):
                stack.enter_context(replaced(masks, name, by))
        yield
