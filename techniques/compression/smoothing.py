"""SmoothQuant: outliers of activations, which static scales have no room for, moved into the weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from techniques.compression.context import Context
from techniques.compression.runs import checked_shape
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply
from techniques.replacements import Scale, Scaled

_LEAST = 1e-5
"""Channels whose activations or weights are all but zero are not scaled by less than this allows."""


def smooth_quant(model: nn.Module, context: Context, *, alpha: float) -> nn.Module:
    """Divide each channel of a layer norm's outputs by a scale, and multiply the weights that read it by it.

    The scale of channel j is max |X_j|^alpha / max |W_j|^(1 - alpha), over calibration batches. Where linear
    layers alone read a norm, its weight and bias take the scale, at no cost. Where something else does, as
    the residual of a post-norm transformer, a `Scale` stands before each linear layer: one more product. In
    floats the model computes the same. Raises CannotApply where no linear layer reads a layer norm. Source:
    Xiao et al. 2023, "SmoothQuant" (arXiv:2211.10438), equation 4.
    """
    make_plain(model)
    batches = list(context.calibration())
    pairs = norms_read_by_layers(model, batches[:1])
    if not pairs:
        raise CannotApply("smooth-quant: no linear layer of this model reads the outputs of a layer norm")
    largest = _largest_outputs(model, [pair.norm for pair in pairs], batches)
    with checked_shape(model, context, "smooth-quant"), torch.no_grad():
        for pair in pairs:
            weights = [layer.weight for layer in pair.layers.values()]
            scales = smoothing_scales(largest[pair.norm], weights, alpha)
            for weight in weights:
                weight.mul_(scales)
            if pair.alone:
                pair.norm.weight.div_(scales)
                if pair.norm.bias is not None:
                    pair.norm.bias.div_(scales)
            else:
                _scale_before(model, pair.layers, scales)
    context.note_quality("smoothed", model)
    return model


def smoothing_scales(
    activations: torch.Tensor, weights: Sequence[torch.Tensor], alpha: float
) -> torch.Tensor:
    """Return the scale of each channel, from its largest activation (channels,) and the weights that read it.

    Weights have the shape (outputs, channels).
    """
    of_weights = torch.stack([weight.abs().amax(dim=0) for weight in weights]).amax(dim=0).clamp(min=_LEAST)
    return activations.clamp(min=_LEAST) ** alpha / of_weights ** (1 - alpha)


@dataclass
class Pair:
    """A layer norm, the linear layers that read its outputs, by name, and whether they `alone` do."""

    norm: nn.LayerNorm
    layers: dict[str, nn.Linear] = field(default_factory=dict)
    alone: bool = True


def norms_read_by_layers(model: nn.Module, batches: Iterable[torch.Tensor]) -> list[Pair]:
    """Return the layer norms of a model whose outputs linear layers read, as a run on the batches shows.

    Leaves out norms without a weight, and layers that share their weight or read two norms.
    """
    weights = {
        id(module.weight): (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear
    }
    norms = {
        id(module.weight): module
        for module in model.modules()
        if isinstance(module, nn.LayerNorm) and module.weight is not None and module.weight.dim() == 1
    }
    with torch.no_grad(), _Readers(set(norms)) as seen:
        for batch in batches:
            model.eval()(batch.clone())
    pairs = []
    for norm, readers in seen.readers.items():
        own = {reader for reader in readers if reader in weights and seen.calls[reader] == 1}
        pair = Pair(norms[norm], dict(weights[reader] for reader in sorted(own, key=readers.index)))
        pair.alone = set(readers) == own
        if pair.layers:
            pairs.append(pair)
    return pairs


class _Readers(TorchFunctionMode):
    """Notes which weights of linear layers read the outputs of each layer norm; -1 stands for what else does.

    `calls` counts how often each weight was read at all.
    """

    def __init__(self, norms: set[int]) -> None:
        super().__init__()
        self.readers: dict[int, list[int]] = {}
        self.calls: defaultdict[int, int] = defaultdict(int)
        self._norms = norms
        self._outputs: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # an id is a tensor's own only as long as it lives

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in ("__get__", "size", "dim") or (args and result is args[0]):
            return result  # a tensor's properties, and what changes nothing, as dropout in evaluation
        linear = id(args[1]) if name == "linear" and len(args) > 1 else -1
        if linear != -1:
            self.calls[linear] += 1
        for entry in _tensors((*args, *kwargs.values())):
            norm = self._outputs.get(id(entry))
            if norm is not None:
                self.readers[norm].append(linear)
        weight = kwargs.get("weight", args[2] if len(args) > 2 else None) if name == "layer_norm" else None
        if id(weight) in self._norms:
            self._outputs[id(result)] = id(weight)
            self.readers.setdefault(id(weight), [])
            self._alive.append(result)
        return result


def _tensors(values: Iterable[Any]) -> Iterable[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _largest_outputs(
    model: nn.Module, norms: Sequence[nn.LayerNorm], batches: Iterable[torch.Tensor]
) -> dict[nn.LayerNorm, torch.Tensor]:
    """Return the largest magnitude of each channel of each norm's outputs over the batches."""
    largest: dict[nn.LayerNorm, torch.Tensor] = {}

    def note(norm: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        own = output.detach().abs().flatten(0, -2).amax(dim=0)
        key = cast(nn.LayerNorm, norm)
        largest[key] = torch.maximum(largest[key], own) if key in largest else own

    hooks = [norm.register_forward_hook(note) for norm in norms]
    try:
        with torch.no_grad():
            for batch in batches:
                model.eval()(batch.clone())
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def _scale_before(model: nn.Module, layers: Mapping[str, nn.Linear], scales: torch.Tensor) -> None:
    for name, layer in layers.items():
        scale = Scale(len(scales))
        scale.factors.copy_(1 / scales)
        model.set_submodule(name, Scaled(scale, layer).train(layer.training))
