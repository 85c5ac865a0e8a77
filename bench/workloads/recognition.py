"""Infers the kind of a model's outputs from loss, targets or last operator; where none says it, asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from bench.errors import StageError
from bench.workloads.classification import IGNORED, class_axes, one_hot_axes
from bench.workloads.output_kinds import OutputKind, parse_kind
from bench.workloads.workload import Workload
from techniques.outputs import parts

_OF_LOSSES = {
    **dict.fromkeys(
        ("cross_entropy", "crossentropyloss", "nll_loss", "nllloss", "multi_margin_loss", "multimarginloss"),
        ("scores", 1),
    ),
    **dict.fromkeys(
        (
            *("binary_cross_entropy_with_logits", "bcewithlogitsloss"),
            *("multilabel_soft_margin_loss", "multilabelsoftmarginloss"),
        ),
        ("logit", -1),
    ),
    **dict.fromkeys(("binary_cross_entropy", "bceloss"), ("probability", -1)),
    **dict.fromkeys(
        (
            *("mse_loss", "mseloss", "l1_loss", "l1loss", "smooth_l1_loss", "smoothl1loss"),
            *("huber_loss", "huberloss", "poisson_nll_loss", "poissonnllloss"),
        ),
        ("values", -1),
    ),
}
"""What PyTorch's losses take, and the axis on which they take classes."""

_RESHAPES = (
    *(
        "Squeeze",
        "Unsqueeze",
        "View",
        "UnsafeView",
        "Reshape",
        "Flatten",
        "Select",
        "Slice",
        "Clone",
        "Alias",
    ),
    *("ToCopy", "Expand", "Transpose", "T", "Permute"),
)


_PROBABILITIES = ("sigmoid", "softmax")
_LIMITS = ("", "clamp", "clip", "hardsigmoid", "hardtanh", "minimum", "min")
"""Operators, or none that is known, after which numbers between 0 and 1 may be probabilities or not."""

Operator = Callable[[], str]


def kind_of_loss(workload: Workload) -> OutputKind | None:
    """Return what outputs are by the workload's own reading of them, or by a loss of PyTorch's; else None."""
    if workload.outputs:
        return None
    if workload.answers is not None:
        return OutputKind("scores", basis="the workload reads its answers itself")
    return _of_loss(workload.loss)


def kind_of_training(
    declared: str, outputs: torch.Tensor, targets: torch.Tensor, last_operator: Operator = lambda: ""
) -> OutputKind:
    """Return what outputs (samples, ...) are that are trained towards targets (samples, ...).

    `last_operator` is asked where targets are 0 and 1. Raises StageError that asks for
    `Workload(outputs=...)` where that cannot be known, or is wrong.
    """
    if declared:
        return _declared(declared, outputs)
    found = _of_targets(outputs, targets, last_operator)
    if isinstance(found, str):
        shapes = f"outputs of shape {_shape(outputs)} for targets of shape {_shape(targets)}"
        raise StageError(
            f"{shapes}{found}: their kind "
            'is unknown; add outputs="scores:AXIS", "probability", "logit", "labels" or "values" '
            "to the Workload"
        )
    return found


def kind_of_given(declared: str, outputs: torch.Tensor, last_operator: Operator = lambda: "") -> OutputKind:
    """Return what outputs (samples, ...) are of a model that is served as given, without labels.

    `last_operator` is asked of one number or one row for each sample. Raises StageError that asks for the
    setting `outputs` where that cannot be known, or is wrong.
    """
    if declared:
        return _declared(declared, outputs)
    if not outputs.is_floating_point() and not outputs.is_complex():
        return OutputKind("labels", basis="integers")
    single = outputs.dim() == 1 or (outputs.dim() == 2 and outputs.shape[1] == 1)
    row = outputs.dim() == 2 and not single and not outputs.is_complex()
    operator = last_operator().lower() if single or row else ""
    if operator == "sigmoid":
        return OutputKind(
            "probability", basis=f"{'one number' if single else 'a row'} for each sample, of a sigmoid"
        )
    if row and not (operator in _LIMITS and _inside(outputs) and not one_hot_axes(outputs)):
        return OutputKind("scores", 1, "a row of numbers for each sample is taken as scores of classes")
    choices = "scores:AXIS (the axis of the classes) or values"
    if single or row:
        choices = f"probability, logit{', scores:1' if row else ''} or values"
    raise StageError(
        f"outputs of shape {_shape(outputs)}: their kind is unknown; "
        f"add the setting outputs= to the workload: {choices}"
    )


def last_operator(model: torch.nn.Module, batch: torch.Tensor, name: str = "") -> str:
    """Return the operator that made the output of that name, by its gradient's: `Sigmoid`, reshapes left out.

    Empty where no gradient tells.
    """
    with torch.enable_grad():
        # Of a clone: the model may write to its input, and must not where that is what is derived by.
        given = batch.clone().requires_grad_(batch.is_floating_point() or batch.is_complex()).clone()
        try:
            outputs = model(given)
        except Exception:  # what a model raises that is made to run without gradients, or not at this batch
            return ""
    function = getattr(parts(outputs)[0].get(name), "grad_fn", None)
    while function is not None:
        operator = type(function).__name__.partition("Backward")[0]
        if operator not in _RESHAPES:
            return operator
        function = function.next_functions[0][0] if function.next_functions else None
    return ""


def _declared(text: str, outputs: torch.Tensor) -> OutputKind:
    try:
        kind = parse_kind(text)
    except ValueError as error:
        raise StageError(str(error)) from None
    fault = kind.fault(outputs)
    if fault:
        raise StageError(f"outputs={text}: {fault}")
    return kind


def _of_loss(loss: Any) -> OutputKind | None:
    while isinstance(loss, partial):
        loss = loss.func
    named = loss if hasattr(loss, "__name__") else type(loss)
    if not str(getattr(named, "__module__", "")).startswith("torch."):
        return None
    found = _OF_LOSSES.get(named.__name__.lower())
    return None if found is None else OutputKind(*found, basis=f"the loss is {named.__name__}")


def _of_targets(outputs: torch.Tensor, targets: torch.Tensor, last_operator: Operator) -> OutputKind | str:
    """Read the kind from what outputs are trained towards, or say what about the targets leaves it open."""
    whole = not targets.is_floating_point() and not targets.is_complex()
    if whole and outputs.dim() == targets.dim() + 1:
        fitting = [
            axis for axis in class_axes(outputs, targets) if bool((targets < outputs.shape[axis]).all())
        ]
        if len(fitting) == 1:
            basis = f"targets number the {outputs.shape[fitting[0]]} classes of axis {fitting[0]}"
            return OutputKind("scores", fitting[0], basis)
    if outputs.numel() != targets.numel() or outputs.is_complex():
        return ""
    if targets.isnan().any():
        return ", some of them NaN"
    counted = targets[targets != IGNORED]
    if bool(((counted == 0) | (counted == 1)).all()):
        if counted.unique().numel() < 2:
            return ", all of them the same"
        return _of_yes_or_no(outputs, targets, last_operator)
    if bool(((counted == 0) | (counted.abs() == 1)).all()):
        return ", of which each is -1, 0 or 1"
    if targets.shape == outputs.shape and one_hot_axes(targets):
        return " that are shares of classes"
    return "" if whole else OutputKind("values", basis="targets are numbers of the same shape")


def _of_yes_or_no(outputs: torch.Tensor, targets: torch.Tensor, last_operator: Operator) -> OutputKind | str:
    operator = last_operator().lower()
    one_hot = one_hot_axes(targets) if targets.shape == outputs.shape else []
    if one_hot and operator != "sigmoid":
        if len(one_hot) > 1:
            return f", one-hot on axis {' or '.join(map(str, one_hot))}"
        return OutputKind("scores", one_hot[0], f"targets are one-hot on axis {one_hot[0]}")
    basis = "one number for each target of 0 or 1"
    if not _inside(outputs):
        return OutputKind("logit", basis=basis)
    if operator in _PROBABILITIES:
        return OutputKind("probability", basis=f"{basis}, of a {operator}")
    return ", all between 0 and 1" if operator in _LIMITS else OutputKind("logit", basis=basis)


def _inside(outputs: torch.Tensor) -> bool:
    return bool(((outputs >= 0) & (outputs <= 1)).all())


def _shape(tensor: torch.Tensor) -> str:
    return "(samples" + "".join(f", {size}" for size in tensor.shape[1:]) + ")"
