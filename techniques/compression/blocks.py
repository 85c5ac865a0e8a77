"""Depth: whole residual blocks removed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from techniques.compression import pruning
from techniques.compression.context import Context
from techniques.compression.runs import checked_shape, run
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply
from techniques.replacements import Skip

_LAYERS_IN_A_BLOCK = 2
_NUMBER = "layer_idx"
"""By which a layer of transformers finds its keys and values in a cache."""


def remove_layers(model: nn.Module, context: Context, *, share: float) -> nn.Module:
    """Remove `share` of the residual blocks, those without which the outputs change least; recover.

    Each block is left out alone, and the squared change of the outputs on calibration batches is its score.
    At least one goes, and one stays. Raises CannotApply where fewer than two blocks keep their inputs' shape.
    Source: Veit, Wilber & Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow
    Networks" (arXiv:1605.06431); of transformers Men et al. 2024, "ShortGPT" (arXiv:2403.03853).
    """
    return _remove(model, context, share, "remove-layers", lambda names: _changes(model, context, names))


def remove_layers_random(model: nn.Module, context: Context, *, share: float) -> nn.Module:
    """Remove `share` of the residual blocks by lot; recover. The same go for the same seed.

    Raises CannotApply as `remove_layers` does.
    """
    generator = torch.Generator().manual_seed(context.seed)
    return _remove(
        model,
        context,
        share,
        "remove-layers-random",
        lambda names: torch.rand(len(names), generator=generator).tolist(),
    )


def blocks(model: nn.Module, example: torch.Tensor) -> list[str]:
    """Return the names of the blocks that could be left out, in the model's order.

    Each is one of a sequence of modules, has two or more linear or convolution layers, and is called once,
    with states that keep their shape. Of nested ones the outermost counts.
    """
    calls: dict[str, int] = {}
    keeps: dict[str, bool] = {}

    def note(name: str) -> Callable[..., None]:
        def noted(_: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            keeps[name] = bool(inputs) and _alike(inputs[0], outputs)

        return noted

    modules = {
        f"{outer}.{name}".lstrip("."): module
        for outer, parent in model.named_modules()
        if isinstance(parent, nn.Sequential | nn.ModuleList)
        for name, module in parent.named_children()
        if sum(isinstance(layer, pruning.PRUNED_LAYERS) for layer in module.modules()) >= _LAYERS_IN_A_BLOCK
    }
    handles = [module.register_forward_hook(note(name)) for name, module in modules.items()]
    try:
        run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    found = [name for name in modules if calls.get(name) == 1 and keeps[name]]
    return [name for name in found if not any(name.startswith(f"{other}.") for other in found)]


def _alike(states: Any, outputs: Any) -> bool:
    tensors = isinstance(states, torch.Tensor) and isinstance(outputs, torch.Tensor)
    return tensors and states.shape == outputs.shape and states.dtype == outputs.dtype


def _remove(
    model: nn.Module,
    context: Context,
    share: float,
    step: str,
    score: Callable[[Sequence[str]], Sequence[float]],
) -> nn.Module:
    make_plain(model)
    names = blocks(model, context.example)
    if len(names) < 2:
        raise CannotApply(
            f"{step}: the model has {len(names)} blocks of layers that keep the shape of their input, "
            "and takes two"
        )
    count = min(len(names) - 1, max(round(share * len(names)), int(share > 0)))
    with checked_shape(model, context, step):
        scores = dict(zip(names, score(names), strict=True))
        for name in sorted(names, key=lambda name: scores[name])[:count]:
            model.set_submodule(name, Skip())
        _number_again(model)
    context.note_quality("pruned", model)
    pruning.recover(model, context)
    return model


def _changes(model: nn.Module, context: Context, names: Sequence[str]) -> list[float]:
    """Return by how much the outputs change without each block, infinity where the model fails."""
    batches = list(context.calibration())
    whole = [run(model, batch) for batch in batches]
    found = []
    for name in names:
        block = model.get_submodule(name)
        model.set_submodule(name, Skip())
        try:
            found.append(
                sum(_distance(run(model, batch), own) for batch, own in zip(batches, whole, strict=True))
            )
        except Exception:  # code of the model's that needs this very block
            found.append(math.inf)
        finally:
            model.set_submodule(name, block)
    return found


def _distance(outputs: Mapping[str, torch.Tensor], whole: Mapping[str, torch.Tensor]) -> float:
    pairs = ((outputs[name], tensor) for name, tensor in whole.items() if tensor.is_floating_point())
    return sum((one.double() - other.double()).square().sum().item() for one, other in pairs)


def _number_again(model: nn.Module) -> None:
    """Number the layers that are left in turn: a cache without the first would seem empty."""
    layers = [module for module in model.modules() if isinstance(getattr(module, _NUMBER, None), int)]
    numbers = sorted({getattr(layer, _NUMBER) for layer in layers})
    for layer in layers:
        setattr(layer, _NUMBER, numbers.index(getattr(layer, _NUMBER)))
