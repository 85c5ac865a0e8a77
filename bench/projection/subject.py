"""What is projected: a model that can be built without memory, its inputs, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.instruments.tensors import tensors_in

Batch = tuple[torch.Tensor, torch.Tensor | None]


@dataclass(frozen=True)
class Experts:
    """How many experts a token goes to, of how many in each layer."""

    chosen: int
    total: int


@dataclass(frozen=True)
class Subject:
    """A model to project.

    `build` makes it on the meta device, or anywhere. `batch` makes inputs and targets (batch, ...) for some
    samples; it runs among fake tensors. `forward` calls the model, `loss` gives the scalar to differentiate.
    `tokens` are those of one sample, None where samples are no texts; `positions` the most that it takes,
    None where that is not known; `heads` those of its attention, None where not known or none. `generate`
    calls it with and returns a cache of keys and values; None where it has none. `notes` say what was
    assumed.
    """

    title: str
    build: Callable[[], nn.Module]
    batch: Callable[[int], Batch]
    forward: Callable[[nn.Module, torch.Tensor], Any]
    loss: Callable[[nn.Module, torch.Tensor, torch.Tensor | None], torch.Tensor]
    tokens: int | None = None
    positions: int | None = None
    heads: int | None = None
    experts: Experts | None = None
    generate: Callable[[nn.Module, torch.Tensor, Any], tuple[Any, Any]] | None = None
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Return what the amount of data is counted in."""
        return "samples" if self.tokens is None else "tokens"


def mean_output(output: Any) -> torch.Tensor:
    """Return the mean of the first output, which stands for a loss that is not known."""
    values = output.values() if isinstance(output, Mapping) else [output]
    first = next(tensor for tensor in tensors_in(values) if tensor.is_floating_point())
    return first.float().mean()


def parameters(model: nn.Module) -> int:
    """Return how many parameters a model has, tied ones once."""
    return sum(entry.numel() for entry in model.parameters())


def active_parameters(model: nn.Module, experts: Experts | None) -> int:
    """Return how many of them a token meets: of experts those that it goes to."""
    if experts is None:
        return parameters(model)
    own = sum(
        entry.numel()
        for name, entry in model.named_parameters()
        if "experts" in name.split(".") and "shared_experts" not in name
    )
    return parameters(model) - own + own * experts.chosen // experts.total
