"""The layers of a model that formats quantize, by name, and which of them stay in full precision."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from techniques.outputs import Flattened
from techniques.registry import CannotApply, nearest

QUANTIZED_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

_FLATTENED = "model."
"""What the names of modules begin with in a model with flattened outputs."""


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return a model's linear and convolution layers by name, in its order, a shared one once."""
    return {name: each for name, each in model.named_modules() if isinstance(each, QUANTIZED_LAYERS)}


def modules_named(model: nn.Module, patterns: str) -> tuple[str, ...]:
    """Return the names of the modules that patterns match; spaces part patterns, `*` matches any text.

    A module stands for all layers in it. Raises CannotApply for a pattern that matches no module.
    """
    names = [name for name, _ in model.named_modules() if name]
    found: set[str] = set()
    for pattern in patterns.split():
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            known = nearest(pattern, layers_of(model))
            raise CannotApply(f"keep: the model has no module {pattern!r}{known}")
        found |= matched
    return tuple(name for name in names if name in found)


def covers(kept: Iterable[str], name: str) -> bool:
    """Say whether a module, also of a model with flattened outputs, is kept or lies in one that is."""
    names = (name, name.removeprefix(_FLATTENED))
    return any(own == each or own.startswith(f"{each}.") for each in kept for own in names)


def within(model: nn.Module, kept: Iterable[str]) -> list[str]:
    """Return the names of modules as they are in a model that may have flattened outputs."""
    return [f"{_FLATTENED}{name}" if isinstance(model, Flattened) else name for name in kept]
