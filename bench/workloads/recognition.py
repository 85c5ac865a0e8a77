"""Tells what a model's outputs are from its loss, its targets, its last operator; asks where none tells."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from bench.errors import StageError
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


def kind_of_loss(workload: Workload) -> OutputKind | None:
    """Return what outputs are by the workload's own reading of them, or by a loss of PyTorch's; else None."""
    if workload.outputs:
        return None
    if workload.answers is not None:
        return OutputKind("scores", basis="the workload reads its answers itself")
    return _of_loss(workload.loss)


def kind_of_training(declared: str, outputs: torch.Tensor, targets: torch.Tensor) -> OutputKind:
    """Return what outputs (samples, ...) are that are trained towards targets (samples, ...).

    Raises StageError that asks for `Workload(outputs=...)` where that cannot be known, or is wrong.
    """
    if declared:
        return _declared(declared, outputs)
    found = _of_targets(outputs, targets)
    if found is None:
        raise StageError(
            f"outputs of shape {_shape(outputs)} for targets of shape {_shape(targets)}: what they are "
            'cannot be told; add outputs="scores:AXIS", "probability", "logit", "labels" or "values" '
            "to the Workload"
        )
    return found


def kind_of_given(
    declared: str, outputs: torch.Tensor, last_operator: Callable[[], str] = lambda: ""
) -> OutputKind:
    """Return what outputs (samples, ...) are of a model that is served as it is, without labels.

    `last_operator` is asked of one number for each sample. Raises StageError that asks for the setting
    `outputs` where that cannot be known, or is wrong.
    """
    if declared:
        return _declared(declared, outputs)
    if not outputs.is_floating_point() and not outputs.is_complex():
        return OutputKind("labels", basis="whole numbers")
    if outputs.dim() == 2 and outputs.shape[1] > 1 and not outputs.is_complex():
        return OutputKind("scores", 1, "a row of numbers for each sample is taken as scores of classes")
    single = outputs.dim() == 1 or (outputs.dim() == 2 and outputs.shape[1] == 1)
    if single and last_operator().lower() == "sigmoid":
        return OutputKind("probability", basis="one number for each sample, of a sigmoid")
    choices = "probability, logit or values" if single else "scores:AXIS (the axis of the classes) or values"
    raise StageError(
        f"outputs of shape {_shape(outputs)}: what they are cannot be told; "
        f"add the setting outputs= to the workload: {choices}"
    )


def last_operator(model: torch.nn.Module, batch: torch.Tensor, name: str = "") -> str:
    """Return the operator that made the output of that name, by its gradient's: `Sigmoid`, reshapes left out.

    Empty where no gradient tells.
    """
    with torch.enable_grad():
        given = batch.clone()
        outputs = model(given.requires_grad_() if given.is_floating_point() else given)
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


def _of_targets(outputs: torch.Tensor, targets: torch.Tensor) -> OutputKind | None:
    """Read the kind from what outputs are trained towards: class numbers, yes and no, other numbers."""
    whole = not targets.is_floating_point() and not targets.is_complex()
    if whole and outputs.dim() == targets.dim() + 1:
        fitting = [axis for axis in range(1, outputs.dim()) if _has_classes(outputs, targets, axis)]
        if len(fitting) == 1:
            basis = f"targets number the {outputs.shape[fitting[0]]} classes of axis {fitting[0]}"
            return OutputKind("scores", fitting[0], basis)
    if outputs.numel() != targets.numel() or outputs.is_complex():
        return None
    if bool(((targets == 0) | (targets == 1)).all()):
        inside = bool(((outputs >= 0) & (outputs <= 1)).all())
        return OutputKind("probability" if inside else "logit", basis="one number for each target of 0 or 1")
    return None if whole else OutputKind("values", basis="targets are numbers of the same shape")


def _has_classes(outputs: torch.Tensor, targets: torch.Tensor, axis: int) -> bool:
    shape = outputs.shape
    fits = shape[:axis] + shape[axis + 1 :] == targets.shape and shape[axis] > 1
    return fits and bool((targets < shape[axis]).all())


def _shape(tensor: torch.Tensor) -> str:
    return "(samples" + "".join(f", {size}" for size in tensor.shape[1:]) + ")"
