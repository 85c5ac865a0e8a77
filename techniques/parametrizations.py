"""Weights computed from others (weight norm, spectral norm, masks), and how to make them plain."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm


def is_parametrized(model: torch.nn.Module) -> bool:
    """Say whether a module of the model computes a weight, by a parametrization or by a hook as of old."""
    return any(parametrize.is_parametrized(module) or _hooks(module) for module in model.modules())


def make_plain(model: torch.nn.Module) -> torch.nn.Module:
    """Replace each computed weight, in place, by a plain one that has its values in evaluation mode."""
    for module in list(model.modules()):
        was_training, module.training = module.training, False
        try:
            for hook in _hooks(module):
                _remove(hook, module)
            if parametrize.is_parametrized(module):
                for name in list(cast(Any, module.parametrizations)):
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        finally:
            module.training = was_training
    return model


def _hooks(module: torch.nn.Module) -> list[Any]:
    """Return the hooks that compute a weight before the module is called."""
    kinds = (WeightNorm, SpectralNorm, prune.BasePruningMethod)
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, kinds)]


def _remove(hook: Any, module: torch.nn.Module) -> None:
    if isinstance(hook, prune.BasePruningMethod):
        prune.remove(module, hook._tensor_name)
    elif isinstance(hook, WeightNorm):
        remove_weight_norm(module, hook.name)
    else:
        remove_spectral_norm(module, hook.name)
        # It leaves this one behind (PyTorch 2.13), which then looks for weights that are no more.
        for key, wrapped in list(module._load_state_dict_pre_hooks.items()):
            inner = getattr(wrapped, "hook", wrapped)
            if isinstance(inner, SpectralNormLoadStateDictPreHook) and inner.fn is hook:
                del module._load_state_dict_pre_hooks[key]
