"""What the operators of losses are in another framework, beside those that models have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from techniques.backends.frameworks.exported import At, Value
from techniques.backends.frameworks.operators import OPERATORS
from techniques.registry import CannotApply

_MEAN, _SUM = 1, 2
_IGNORED = -100


def _cross_entropy(
    at: At,
    scores: Value,
    targets: Value,
    weight: Value | None = None,
    reduction: int = _MEAN,
    ignored: int = _IGNORED,
    smoothing: float = 0.0,
) -> Value:
    dimensions = len(at.shapes[0])
    if weight is not None or smoothing or ignored != _IGNORED or len(at.shapes[1]) != dimensions - 1:
        raise CannotApply(f"{at.framework.name} has no cross-entropy here with these settings")
    array = at.plain(scores)
    array = at.xp.moveaxis(array, 1, -1) if dimensions > 2 else array
    return _reduction(at, at.framework.cross_entropy(at.plain(targets), array), reduction)


def _squared_error(at: At, outputs: Value, targets: Value, reduction: int = _MEAN) -> Value:
    difference = at.xp.subtract(at.plain(outputs), at.plain(targets))
    return _reduction(at, at.xp.square(difference), reduction)


def _binary_cross_entropy(
    at: At,
    logits: Value,
    targets: Value,
    weight: Value | None = None,
    positive: Value | None = None,
    reduction: int = _MEAN,
) -> Value:
    if weight is not None or positive is not None:
        raise CannotApply(f"{at.framework.name} has no binary cross-entropy here with weights")
    array, wanted = at.plain(logits), at.plain(targets)
    each = at.xp.subtract(at.xp.softplus(array), at.xp.multiply(array, wanted))
    return _reduction(at, each, reduction)


def _reduction(at: At, each: Any, reduction: int) -> Value:
    if reduction == _MEAN:
        return Value(at.xp.mean(each))
    return Value(at.xp.sum(each) if reduction == _SUM else each)


LOSS_OPERATORS: dict[str, Callable[..., Any]] = {
    **OPERATORS,
    "aten.cross_entropy_loss.default": _cross_entropy,
    "aten.mse_loss.default": _squared_error,
    "aten.binary_cross_entropy_with_logits.default": _binary_cross_entropy,
}
