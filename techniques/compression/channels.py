"""Structured pruning: removes whole channels, which leaves smaller and faster dense layers."""

from __future__ import annotations

import torch

from techniques.compression.context import Context
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply

_LAYERS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)


def prune_channels(model: torch.nn.Module, context: Context, *, share: float) -> torch.nn.Module:
    """Drop `share` of every layer's channels, those of least magnitude in all layers they meet; recover.

    Each layer loses the same share, so the shapes do not depend on the weights. The output layer keeps its
    channels, and computed weights (weight norm) become plain. Raises CannotApply for a model that it cannot
    trace or take apart.

    Source: Fang et al. 2023, "DepGraph: Towards Any Structural Pruning" (arXiv:2301.12900), by Torch-Pruning.
    """
    make_plain(model)
    before = _run(model, context.example)
    _remove_channels(model, context.example, share)
    try:
        after = _run(model, context.example)
    except Exception as error:
        raise CannotApply(f"prune-channels: the pruned model fails: {_line(error)}") from error
    if after.shape != before.shape:
        raise CannotApply(
            f"prune-channels: the output shape changes from {tuple(before.shape)} to {tuple(after.shape)}"
        )
    context.note_quality("pruned", model)
    context.recover(model)
    return model


def _remove_channels(model: torch.nn.Module, example: torch.Tensor, share: float) -> None:
    import torch_pruning

    model.eval()
    outputs = [layer for layer in (_last_layer(model, example),) if layer is not None]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    try:
        torch_pruning.pruner.BasePruner(
            model,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=share,
            ignored_layers=outputs,
            num_heads=_attention_heads(model),
        ).step()
    except Exception as error:  # whatever tracing raises
        raise CannotApply(f"prune-channels: Torch-Pruning cannot trace this model: {_line(error)}") from error
    if share > 0 and sum(parameter.numel() for parameter in model.parameters()) == parameters:
        raise CannotApply("prune-channels: Torch-Pruning found no channel to drop in this model")


def _attention_heads(model: torch.nn.Module) -> dict[torch.nn.Module, int]:
    attention = torch.nn.MultiheadAttention
    return {module: module.num_heads for module in model.modules() if isinstance(module, attention)}


def _last_layer(model: torch.nn.Module, example: torch.Tensor) -> torch.nn.Module | None:
    """Return the linear or convolution layer that runs last: its channels are the model's outputs."""
    ran: list[torch.nn.Module] = []
    layers = [module for module in model.modules() if isinstance(module, _LAYERS)]
    handles = [layer.register_forward_hook(lambda module, *_: ran.append(module)) for layer in layers]
    try:
        _run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return ran[-1] if ran else None


@torch.no_grad()
def _run(model: torch.nn.Module, example: torch.Tensor) -> torch.Tensor:
    outputs: torch.Tensor = model.eval()(example)
    return outputs


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
