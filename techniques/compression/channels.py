"""Structured pruning: removes whole channels, which leaves smaller and faster dense layers."""

from __future__ import annotations

from typing import Any

import torch

from techniques.compression import pruning
from techniques.compression.attention import attentions
from techniques.compression.context import Context
from techniques.compression.runs import checked_shape, line, run
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply

_LAYERS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)


def prune_channels(model: torch.nn.Module, context: Context, *, share: float) -> torch.nn.Module:
    """Drop `share` of every layer's channels, those of least norm in all layers they meet; recover.

    Each layer loses the same share, so the shapes do not depend on the weights. The output layer keeps its
    channels, and computed weights (weight norm) become plain. Raises CannotApply for a model that it cannot
    trace or take apart.

    Source: Fang et al. 2023, "DepGraph: Towards Any Structural Pruning" (arXiv:2301.12900), by Torch-Pruning.
    """
    from torch_pruning.pruner.importance import GroupMagnitudeImportance

    return _prune(model, context, share, "prune-channels", GroupMagnitudeImportance(p=2))


def prune_channels_magnitude(model: torch.nn.Module, context: Context, *, share: float) -> torch.nn.Module:
    """Drop `share` of every layer's channels, those of least |weight| in their own filters; recover.

    What later layers make of a channel does not count. Shapes and errors are those of `prune_channels`.
    Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets" (arXiv:1608.08710).
    """
    from torch_pruning.pruner.importance import GroupMagnitudeImportance

    importance = GroupMagnitudeImportance(p=1, group_reduction="first")
    return _prune(model, context, share, "prune-channels-magnitude", importance)


def prune_channels_taylor(model: torch.nn.Module, context: Context, *, share: float) -> torch.nn.Module:
    """Drop `share` of every layer's channels, those of least (weight × gradient)² everywhere; recover.

    It is averaged over calibration batches, whose gradients do not cancel then, and summed over the weights
    of a channel. Shapes and errors are those of `prune_channels`. Source: Molchanov et al. 2019, "Importance
    Estimation for Neural Network Pruning" (arXiv:1906.10771), equation 8; groups by Torch-Pruning.
    """
    from torch_pruning.pruner.importance import GroupTaylorImportance

    make_plain(model)
    _set_gradients(model, context)
    try:
        return _prune(model, context, share, "prune-channels-taylor", GroupTaylorImportance())
    finally:
        model.zero_grad()


def _set_gradients(model: torch.nn.Module, context: Context) -> None:
    """Give each parameter a gradient of which |weight × gradient| is the mean of (weight × gradient)².

    Torch-Pruning scores by the former, of one gradient; the mean is over calibration batches.
    """
    parameters = [each for each in model.parameters() if each.is_floating_point()]
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    batches = 0
    for loss in context.losses(model):
        batches += 1
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        for total, parameter, gradient in zip(squares, parameters, gradients, strict=True):
            total += (parameter.detach() * gradient).square()
    for parameter in frozen:
        parameter.requires_grad_(False)
    for parameter, total in zip(parameters, squares, strict=True):
        weight = parameter.detach()
        parameter.grad = torch.where(weight == 0, 0.0, total / max(1, batches) / weight)


def prune_channels_random(model: torch.nn.Module, context: Context, *, share: float) -> torch.nn.Module:
    """Drop `share` of every layer's channels by lot; recover. The same go for the same seed.

    Shapes and errors are those of `prune_channels`.
    """
    from torch_pruning.pruner.importance import RandomImportance

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        _without_channels(model, context, share, "prune-channels-random", RandomImportance())
    return _recovered(model, context)


def _prune(
    model: torch.nn.Module, context: Context, share: float, step: str, importance: Any
) -> torch.nn.Module:
    _without_channels(model, context, share, step, importance)
    return _recovered(model, context)


def _recovered(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    model.zero_grad()
    context.note_quality("pruned", model)
    pruning.recover(model, context)
    return model


def _without_channels(
    model: torch.nn.Module, context: Context, share: float, step: str, importance: Any
) -> None:
    make_plain(model)
    fused = next((each for each in attentions(model) if each.fused), None)
    if fused is not None:
        raise CannotApply(
            f"{step}: {fused.name} makes queries, keys and values in one layer and splits them at a fixed "
            "size, which Torch-Pruning cannot follow; prune-heads removes whole heads of it"
        )
    with checked_shape(model, context, step):
        _remove_channels(model, context.example, share, step, importance)


def _remove_channels(
    model: torch.nn.Module, example: torch.Tensor, share: float, step: str, importance: Any
) -> None:
    import torch_pruning

    model.eval()
    outputs = [layer for layer in (_last_layer(model, example),) if layer is not None]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    try:
        torch_pruning.pruner.BasePruner(
            model,
            example,
            importance=importance,
            pruning_ratio=share,
            ignored_layers=outputs,
            num_heads=_attention_heads(model),
        ).step()
    except Exception as error:  # whatever tracing raises
        raise CannotApply(f"{step}: Torch-Pruning cannot trace this model: {line(error)}") from error
    if share > 0 and sum(parameter.numel() for parameter in model.parameters()) == parameters:
        raise CannotApply(f"{step}: Torch-Pruning found no channel to drop in this model")


def _attention_heads(model: torch.nn.Module) -> dict[torch.nn.Module, int]:
    attention = torch.nn.MultiheadAttention
    return {module: module.num_heads for module in model.modules() if isinstance(module, attention)}


def _last_layer(model: torch.nn.Module, example: torch.Tensor) -> torch.nn.Module | None:
    """Return the linear or convolution layer that runs last: its channels are the model's outputs."""
    ran: list[torch.nn.Module] = []
    layers = [module for module in model.modules() if isinstance(module, _LAYERS)]
    handles = [layer.register_forward_hook(lambda module, *_: ran.append(module)) for layer in layers]
    try:
        run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return ran[-1] if ran else None
