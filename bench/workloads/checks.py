"""Checks of what a workload's functions return, made where they are called: each error is one line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from bench.errors import StageError
from bench.metrics import METRICS, metric_named
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.recognition import kind_of_loss
from bench.workloads.workload import Data, Samples, Workload
from techniques.registry import nearest

_ROUNDING = 1e-6

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Quality = Callable[[torch.Tensor, torch.Tensor], Mapping[str, float]]


def checked(workload: Workload, quality_metric: str) -> Workload:
    """Return a workload whose data, quality, `finish` and baselines raise StageError for unusable results.

    `quality_metric` is the metric that its target is set on.
    """
    data, finish, baselines = workload.data, workload.finish, workload.baselines
    quality = _along_declared_axis(workload)

    def checked_quality(outputs: Any, targets: torch.Tensor) -> Mapping[str, float]:
        assert quality is not None
        return _in_range(
            _numbers("quality", _checked_names("quality", quality(outputs, targets), quality_metric))
        )

    def checked_finish(model: torch.nn.Module, samples: Data) -> Mapping[str, float]:
        assert finish is not None
        return _in_range(_numbers("finish", _checked_names("finish", finish(model, samples))))

    return replace(
        workload,
        data=lambda: checked_data(data()),
        quality=quality and checked_quality,
        finish=finish and checked_finish,
        baselines=lambda samples: _numbers("baselines", baselines(samples)),
    )


def _along_declared_axis(workload: Workload) -> Quality | None:
    """Return the workload's quality; an accuracy of classes is taken along the outputs' axis of classes.

    PyTorch's own losses have a fixed axis of classes, which says it as well.
    """

    if workload.quality is not accuracy_and_recall or workload.answers is not None:
        return workload.quality
    name, _, declared = workload.outputs.strip().partition(":")
    if name == "scores" and re.fullmatch(r"-?\d{1,3}", declared):
        return partial(accuracy_and_recall, axis=int(declared))
    kind = kind_of_loss(workload)
    return (
        partial(accuracy_and_recall, axis=kind.axis) if kind and kind.name == "scores" else workload.quality
    )


def checked_data(data: Any) -> Data:
    """Return data with a tensor (samples, ...) of inputs and one of targets for each part, as they are.

    Raises StageError where one is no such tensor, where their lengths differ, and where a part is empty.
    """
    if not isinstance(data, Data):
        raise StageError(f"data must return a Data, got {_described(data)}")
    parts = {
        "training": (data.train_inputs, data.train_targets),
        "test": (data.test_inputs, data.test_targets),
    }
    validation: Any = data.validation
    if validation is not None:
        if not isinstance(validation, Samples):
            raise StageError(f"the validation set must be a Samples, got {_described(validation)}")
        parts["validation"] = (validation.inputs, validation.targets)
    for part, (inputs, targets) in parts.items():
        for name, value in (("inputs", inputs), ("targets", targets)):
            if not isinstance(value, torch.Tensor) or value.dim() == 0:
                raise StageError(
                    f"the {part} set's {name} must be a tensor (samples, ...), got {_described(value)}"
                )
        if len(inputs) != len(targets):
            raise StageError(
                f"the {part} set has {len(inputs):,} inputs and {len(targets):,} targets; each needs its own"
            )
        if not len(inputs):
            raise StageError(f"the {part} set is empty")
    _check_groups(data)
    return data


def _check_groups(data: Data) -> None:
    groups: Any = data.groups
    if groups is not None and (
        not isinstance(groups, torch.Tensor) or groups.shape != (len(data.train_inputs),)
    ):
        raise StageError(
            f"groups must be a tensor with a number for each of the {len(data.train_inputs):,} training "
            f"samples, got {_described(groups)}"
        )


def checked_loss(loss: Loss) -> Loss:
    """Return a loss that raises StageError where what it gives is not one number with a gradient."""

    def one_number(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        found: Any = loss(outputs, targets)
        if not isinstance(found, torch.Tensor):
            raise StageError(f"the loss must be a tensor of one number, got {_described(found)}")
        if found.numel() != 1:
            each = ", one for each sample" if found.shape == targets.shape[:1] else ""
            raise StageError(
                f"the loss must be one number for a batch, got {_described(found)}{each}; "
                "return its mean (reduction='mean')"
            )
        if found.is_complex():
            raise StageError("the loss must be a real number, got a complex one")
        # Runtimes that differentiate by themselves trace with tensors of their own.
        if type(found) is torch.Tensor and torch.is_grad_enabled() and not found.requires_grad:
            raise StageError(
                "the loss has no gradient: it must be computed from the outputs by operations that have one, "
                "without detach(), item() or argmax(), of a model with weights to train"
            )
        return found if found.dim() == 0 else found.reshape(())

    return one_number


def _checked_names(function: str, found: Any, needed: str = "") -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise StageError(
            f"{function} must return metrics by name, as {{'accuracy': 0.9}}, got {_described(found)}"
        )
    for name in found:
        if name not in METRICS.qualities:
            raise StageError(f"{function} returns {name!r}, which is not a quality metric{_others(name)}")
    if needed and needed not in found:
        held = ", ".join(found) or "nothing"
        raise StageError(
            f"quality returns {held}, not {needed!r}, which the target is set on; return it, or name another "
            "by quality_metric="
        )
    return found


def _others(name: object) -> str:
    meant = [known for known in METRICS.qualities if len(str(name)) > 1 and known.startswith(str(name))]
    close = f"; did you mean {meant[0]!r}?" if meant else nearest(str(name), METRICS.qualities)
    return close if "did you mean" in close else f"; it may have {', '.join(METRICS.qualities)}"


def _numbers(function: str, found: Any) -> dict[str, float]:
    if not isinstance(found, Mapping):
        raise StageError(f"{function} must return numbers by name, got {_described(found)}")
    return {str(name): _number(f"{function}: {name}", value) for name, value in found.items()}


def _in_range(found: dict[str, float]) -> dict[str, float]:
    """Return metrics of which none is outside its range; NaN stays NaN."""
    for name, value in found.items():
        low, high = metric_named(name).bounds
        if not math.isnan(value) and not low - _ROUNDING <= value <= high + _ROUNDING:
            hint = "; 1 is all of them, not 100" if metric_named(name).unit == "share" and value > 1 else ""
            raise StageError(
                f"quality: {name} is {value:,.6g}, outside its range {_interval(low, high)}{hint}"
            )
    return found


def _interval(low: float, high: float) -> str:
    if math.isinf(low):
        return f"(up to {high:g})"
    return f"(from {low:g})" if math.isinf(high) else f"({low:g} to {high:g})"


def _number(what: str, value: Any) -> float:
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise StageError(f"{what} must be one number, got {_described(value)}") from None


def _described(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
