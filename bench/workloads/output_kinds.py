"""The kinds of outputs: scores of classes, probabilities, logits, labels or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

KINDS = ("scores", "probability", "logit", "labels", "values")
HOW = "scores (scores:1 with the classes on axis 1), probability, logit, labels or values"

UNANSWERED = -(2**63)
"""The answer of outputs that are NaN: no class, and no label that a model gives."""

_THRESHOLDS = {"probability": 0.5, "logit": 0.0}


@dataclass(frozen=True)
class OutputKind:
    """What outputs (samples, ...) are.

    scores: one number for each class along `axis`, the highest is the answer. probability: one number in
    [0, 1] for each answer, yes from 0.5 on. logit: the same before a sigmoid, yes from 0 on. labels: the
    answers themselves. values: numbers that are only near or far, as those of a regression or an embedding.
    `basis` says how the kind is known.
    """

    name: str
    axis: int = -1
    basis: str = "declared"

    @property
    def text(self) -> str:
        """Return the kind as a setting spells it: `scores:1`, `logit`."""
        return f"{self.name}:{self.axis}" if self.name == "scores" else self.name

    def answers(self, outputs: torch.Tensor) -> torch.Tensor | None:
        """Return the answers that outputs (samples, ...) give, None where they are values.

        They are `UNANSWERED` where outputs are NaN.
        """
        if self.name == "scores":
            return best_class(outputs, self.axis)
        if self.name in _THRESHOLDS:
            return yes_or_no(outputs, _THRESHOLDS[self.name])
        return outputs if self.name == "labels" else None

    def class_scores(self, outputs: torch.Tensor) -> torch.Tensor | None:
        """Return logits (..., classes) of the same answers, two classes for yes and no; else None."""
        if self.name == "scores":
            return outputs.movedim(self.axis, -1)
        if self.name == "logit":
            import torch

            return torch.stack([torch.zeros_like(outputs), outputs], dim=-1)
        if self.name == "probability":
            import torch

            inside = outputs.clamp(*_OPEN_INTERVAL)
            return torch.stack([(1 - inside).log(), inside.log()], dim=-1)
        return None

    def fault(self, outputs: torch.Tensor) -> str:
        """Say why outputs cannot be of this kind, empty where they can."""
        shape = tuple(outputs.shape)
        if self.name == "scores":
            axis = self.axis % outputs.dim() if -outputs.dim() <= self.axis < outputs.dim() else 0
            if axis == 0 or outputs.shape[axis] < 2:
                return f"there are no classes on axis {self.axis} of outputs of shape {shape}"
        if self.name == "probability" and outputs.numel() and not ((outputs >= 0) & (outputs <= 1)).all():
            return f"outputs reach from {outputs.min().item():.3g} to {outputs.max().item():.3g}"
        if self.name == "labels" and outputs.is_floating_point() and not (outputs == outputs.round()).all():
            return "outputs are not integers"
        return ""


def best_class(scores: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the number of the highest score along an axis, `UNANSWERED` where one of them is NaN.

    The result has the shape of the scores without that axis, int64.
    """
    return scores.argmax(dim=axis).masked_fill(scores.isnan().any(dim=axis), UNANSWERED)


def yes_or_no(outputs: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return 1 above the threshold, else 0, of the outputs' shape; `UNANSWERED` where outputs are NaN."""
    return (outputs > threshold).long().masked_fill(outputs.isnan(), UNANSWERED)


_OPEN_INTERVAL = (1e-7, 1 - 1e-7)


def parse_kind(text: str) -> OutputKind:
    """Read a declared kind: one of `KINDS`, `scores` with its axis after a colon; raises ValueError."""
    name, _, axis = text.strip().partition(":")
    if name not in KINDS or (axis and name != "scores"):
        raise ValueError(f"outputs={text!r} must be {HOW}")
    if not axis:
        return OutputKind(name)
    try:
        return OutputKind(name, int(axis))
    except ValueError:
        raise ValueError(f"outputs={text!r}: the axis must be an integer, as in scores:1") from None
