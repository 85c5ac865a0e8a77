"""How the losses of a batch's parts add up to the loss of the whole batch.

`loss(batch) = sum of weight × loss(part)`, where the weights depend on the targets alone: 1/n each for a mean
over samples, 1 each for a sum, a part's share of the targets that count for a mean that leaves some out
(padding) or weighs classes. Then the gradients of the parts, so weighted, add up to that of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from techniques.registry import CannotApply

_ROUNDING = 1e-4
"""How far, relatively, weights may differ by the rounding of losses in fp32."""
_PARALLEL = 1e-3
"""The same of gradients, element by element."""

Loss = Callable[[Any, torch.Tensor], torch.Tensor]


class Accumulation:
    """The weights of `parts` equal parts of a batch. `constant` is the weight of each where it is known.

    `setting` is what the user wrote to have parts, for messages.
    """

    def __init__(self, loss: Loss, parts: int, setting: str = "accumulate") -> None:
        self.loss, self.parts, self.setting = loss, parts, setting
        self.constant: float | None = None

    @property
    def method(self) -> str:
        """Say in a few words how gradients of parts are added up."""
        if self.constant is None:
            return f"{self.parts} parts, each by its share of the batch's loss, found in every step"
        rule = "sum" if _same(1.0, self.constant) else "mean"
        return f"{self.parts} parts, whose loss is a {rule}"

    def study(self, outputs: Any, epoch: Iterable[torch.Tensor]) -> None:
        """Look whether every batch of an epoch, by its targets, has parts of one and the same weight.

        Then no step need find weights. `outputs` are those of any one part.
        """
        found: set[float] = set()
        for targets in epoch:
            found.update(part_weights(self.loss, outputs, targets, self.parts, self.setting))
            if max(found) - min(found) > _ROUNDING * max(found):
                return
        if found:
            exact = (rule for rule in (1.0, 1 / self.parts) if _same(rule, max(found)))
            self.constant = next(exact, max(found))

    def weights(self, outputs: Any, targets: torch.Tensor) -> list[float]:
        """Return the weight of each part of a batch with these targets; `outputs` are the first part's."""
        if self.constant is not None:
            return [self.constant] * self.parts
        return part_weights(self.loss, outputs, targets, self.parts, self.setting)


def part_weights(
    loss: Loss, outputs: Any, targets: torch.Tensor, parts: int, setting: str = "accumulate"
) -> list[float]:
    """Return the weights of the losses of `parts` equal parts in the loss of the batch.

    `outputs` are a model's for one part; mixtures of them stand for those of the others. A weight is the
    ratio of two gradients by these outputs: that of the batch's loss, and that of the part's own. Raises
    CannotApply where the two do not point the same way, or where the ratio differs at other outputs: such a
    loss (one that compares the samples of a batch, or a root of a mean) is no weighted sum of its parts'.
    """
    devices = [targets.device] if targets.device.type != "cpu" else []
    kind = targets.device.type if devices else "cuda"
    with torch.enable_grad(), torch.random.fork_rng(devices, device_type=kind):
        found = _ratios(loss, outputs, targets, parts, 1.0, setting)
        again = _ratios(loss, outputs, targets, parts, 0.5, setting)
    pairs = list(zip(found, again, strict=True))
    if any(one is not None and two is not None and not _same(one, two) for one, two in pairs):
        raise _no_sum(parts, setting)
    known = [two if one is None else one for one, two in pairs]
    if any(weight is not None and math.isnan(weight) for weight in known):
        return [1 / parts] * parts  # the loss of the batch is not finite, and so will be what comes of it
    some = [weight for weight in known if weight is not None]
    if not some:
        raise CannotApply(f"{setting}={parts}: the loss has no gradient to derive the parts' weights from")
    # A part without a gradient either counts for nothing, or as much as the others where those are alike.
    other = some[0] if all(_same(weight, some[0]) for weight in some) else 0.0
    return [other if weight is None else weight for weight in known]


def _ratios(
    loss: Loss, outputs: Any, targets: torch.Tensor, parts: int, scale: float, setting: str
) -> list[float | None]:
    """Return each part's ratio of gradients; None of two zeros, NaN of a batch whose loss is not finite."""
    size = len(targets) // parts
    whole = _gradients(
        loss, _stand_in(outputs, size, [number / parts for number in range(parts)], scale), targets
    )
    if not all(gradient.isfinite().all() for gradient in whole):
        return [math.nan] * parts
    own = [
        _gradients(loss, _stand_in(outputs, size, [number / parts], scale), targets_)
        for number, targets_ in enumerate(targets.split(size))
    ]
    return [
        _ratio([gradient[part * size :][:size] for gradient in whole], own[part], parts, setting)
        for part in range(parts)
    ]


def _ratio(
    in_whole: Sequence[torch.Tensor], own: Sequence[torch.Tensor], parts: int, setting: str
) -> float | None:
    whole_, own_ = (torch.cat([gradient.flatten() for gradient in each]) for each in (in_whole, own))
    if not whole_.any():
        return 0.0 if own_.any() else None
    ratio = whole_.dot(own_) / own_.dot(own_)
    if not (whole_ - ratio * own_).norm() <= _PARALLEL * whole_.norm():
        raise _no_sum(parts, setting)
    return float(ratio)


def _no_sum(parts: int, setting: str) -> CannotApply:
    return CannotApply(
        f"{setting}={parts}: the loss of a batch is not a weighted sum of the losses of its parts, so their "
        "gradients do not add up to the batch's"
    )


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_ROUNDING) or (math.isnan(one) and math.isnan(other))


def _stand_in(outputs: Any, size: int, shares: Sequence[float], scale: float) -> Any:
    """Return outputs of as many parts as there are shares, in fp32 at least, with gradients required."""
    leaves, spec = tree_flatten(outputs)
    return tree_unflatten([_varied(leaf, size, shares, scale) for leaf in leaves], spec)


def _varied(leaf: Any, size: int, shares: Sequence[float], scale: float) -> Any:
    """Return a part's output, then others like it.

    Mixtures of its rows, so that probabilities stay such, and no two of them alike, which a loss that
    compares samples would be blind to.
    """
    if not isinstance(leaf, torch.Tensor):
        return leaf
    leaf = leaf.detach()
    if leaf.dim() == 0 or len(leaf) != size:
        return leaf
    if not (leaf.is_floating_point() or leaf.is_complex()):
        return leaf.repeat(len(shares), *[1] * (leaf.dim() - 1))
    leaf = leaf.to(torch.promote_types(leaf.dtype, torch.float32))
    mixed = [(leaf + share * (leaf.roll(1, 0) - leaf) / 2) * (1 - share / 4) for share in shares]
    return (torch.cat(mixed) * scale).requires_grad_()


def _gradients(loss: Loss, outputs: Any, targets: torch.Tensor) -> list[torch.Tensor]:
    """Return the loss's gradients by the outputs, as real numbers, zero where it does not use one."""
    leaves = [
        leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, torch.Tensor) and leaf.requires_grad
    ]
    found = torch.autograd.grad(loss(outputs, targets), leaves, allow_unused=True)
    pairs = zip(found, leaves, strict=True)
    gradients = [torch.zeros_like(leaf) if gradient is None else gradient for gradient, leaf in pairs]
    return [torch.view_as_real(each) if each.is_complex() else each for each in gradients]
