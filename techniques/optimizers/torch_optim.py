"""Build an optimizer from its row: a class of `torch.optim`'s kind, or a function of named parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch

from techniques.optimizers import OptimizerRow
from techniques.optimizers.row import Shape
from techniques.registry import CannotApply, Technique

LOOP, FOREACH, FUSED = "loop", "foreach", "fused"
AUTO = "auto"

_FOREACH_DEVICES = ("cuda", "xpu")
"""Where PyTorch takes one kernel for many tensors by itself; on a CPU it goes tensor by tensor (2.13)."""

_BETAS = ("beta1", "beta2", "beta3")

_REFUSED = re.compile(
    r"does not support (\w+ gradient|complex)|Sparse gradient"
    r"|support double backward|derivative for .* is not implemented|marked with @once_differentiable"
)
"""What is said of gradients that an optimizer does not take, or that have no gradients of their own."""

LABEL = "label"
"""The key of a group of parameters that names the group; without it, it is all of the optimizer's."""


def build(technique: Technique[OptimizerRow], model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a model's parameters, with the technique's settings.

    A subclass of `torch.optim.Optimizer` takes the bare parameters; anything else is called as
    `build(named_parameters, **settings)`, or with the model if its row says so. Parameters that are not
    trained are left out. Raises CannotApply where a class refuses the settings or the parameters.
    """
    implementation: Any = technique.load()
    settings: dict[str, Any] = dict(technique.settings)
    trainable = [(name, entry) for name, entry in model.named_parameters() if entry.requires_grad]
    if not (inspect.isclass(implementation) and issubclass(implementation, torch.optim.Optimizer)):
        takes = model if technique.row.takes == "model" else trainable
        optimizer: torch.optim.Optimizer = implementation(takes, **settings)
        return optimizer
    parameters = [parameter for _, parameter in trainable]
    try:
        return implementation(parameters, **keywords(parameters, settings))
    except (ValueError, RuntimeError) as error:
        # Unsupported settings or parameters, such as Muon's with one dimension, or `fused` complex ones.
        raise CannotApply(f"{technique.text}: {error}") from error


def keywords(parameters: Sequence[torch.nn.Parameter], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as classes take them: the rates of decay in one tuple, the variant as two flags.

    `auto` is what PyTorch chooses by itself, said openly, so that it is known which ran.
    """
    given = {key: value for key, value in settings.items() if key not in (*_BETAS, "variant")}
    betas = tuple(settings[key] for key in _BETAS if key in settings)
    if betas:
        given["betas"] = betas
    if "variant" in settings:
        given |= flags(parameters, str(settings["variant"]))
    return given


def flags(parameters: Sequence[torch.nn.Parameter], variant: str) -> dict[str, bool]:
    """Return the arguments that choose how the update goes over tensors.

    `fused` is among them only where it is chosen: few classes know it.
    """
    if variant == FUSED:
        return {"foreach": False, "fused": True}
    if variant == AUTO:
        one_kernel = bool(parameters) and all(entry.device.type in _FOREACH_DEVICES for entry in parameters)
        # No kernel goes over whole weights and over those that devices keep in parts.
        one_kernel = one_kernel and len({hasattr(entry, "full_tensor") for entry in parameters}) == 1
        return {"foreach": one_kernel}
    return {"foreach": variant == FOREACH}


def variant_of(optimizer: torch.optim.Optimizer) -> str:
    """Say how an optimizer goes over its tensors; empty where it does not say."""
    own = getattr(optimizer, "variant", "")
    if own:
        return str(own)
    found = {_variant_of_group(group) for group in optimizer.param_groups}
    return found.pop() if len(found) == 1 else ""


def _variant_of_group(group: Mapping[str, Any]) -> str:
    if group.get("fused"):
        return FUSED
    foreach = group.get("foreach")
    return "" if foreach is None else FOREACH if foreach else LOOP


def grouped(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, default: str
) -> dict[str, dict[str, Shape]]:
    """Return which parameters are in which group of an optimizer, by name.

    Those of groups without a label are in `default`.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, dict[str, Shape]] = {}
    for group in optimizer.param_groups:
        own = found.setdefault(str(group.get(LABEL, default)), {})
        for parameter in group["params"]:
            shape = Shape(tuple(parameter.shape), parameter.element_size())
            own[names.get(id(parameter), f"unnamed {len(own)}")] = shape
    return found


def evaluates_by_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether an optimizer computes gradients itself, by a closure that its `step` requires (L-BFGS)."""
    parameter = inspect.signature(optimizer.step).parameters.get("closure")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def swaps_weights(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether an optimizer evaluates other weights than it trains, which its `train` and `eval` exchange.

    Schedule-Free is one (Defazio et al. 2024).
    """
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))


def period_of(optimizer: torch.optim.Optimizer) -> int:
    """Return after how many steps an optimizer's work repeats: over 1 where it does some now and then."""
    return int(getattr(optimizer, "period", 1))


def warm_up_update(optimizer: torch.optim.Optimizer) -> None:
    """Do what only an optimizer's first step does, where it says so: compilation. Weights and state stay.

    Its parameters have gradients.
    """
    own = getattr(optimizer, "warm_up", None)
    if callable(own):
        own()


def step(
    optimizer: torch.optim.Optimizer, closure: Callable[[], torch.Tensor], *, by_closure: bool = False
) -> None:
    """Take a step. `closure` clears gradients, computes them and the loss; it runs first, or `by_closure`.

    One that asks for a closure though its signature does not (sharpness-aware minimization, of which there
    are many implementations) is handed it with gradients computed. Raises CannotApply where gradients are of
    a layout or a type that the optimizer does not take, or where it cannot take their own gradients.
    """
    try:
        if by_closure:
            optimizer.step(cast(Any, closure))
            return
        closure()
        try:
            optimizer.step()
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            if "closure" not in str(error).lower():
                raise
            optimizer.step(cast(Any, closure))
    except Exception as error:
        if _REFUSED.search(str(error)):
            raise CannotApply(str(error).splitlines()[0]) from error
        raise


def refuse(named_parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> torch.optim.Optimizer:
    """Raise CannotApply: a model that is served as given has no training data."""
    raise CannotApply("this workload serves a model as given: it has no training data")
