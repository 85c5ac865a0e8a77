"""What outputs say of each answer: how likely the right class is, how far they are from a reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from bench.errors import StageError
from bench.workloads.classification import IGNORED, class_numbers, one_hot_axes, yes_or_no_targets
from bench.workloads.output_kinds import OutputKind

TOP = 5
_AT_ONCE = 2**21
"""Numbers looked at together."""
_MANY = 2**20
"""Outputs of more numbers, as those of language models, are looked at in fp32: fp64 takes twice as long."""
_LOOKED_AT = 256
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Answered:
    """One number for each answer, float64 (items, answers); what needs targets is None without.

    `kl` is the divergence of the reference's probabilities from these, in nats, and `top` the share of its
    `TOP` likeliest classes that are among these `TOP`, None of fewer classes. `confidence` is the probability
    of the likeliest class, `right` whether it is the target's, `squared` the Brier score, and `nats` the
    negative logarithm of the target's probability. `counted` are answers whose target counts.
    """

    kl: torch.Tensor
    top: torch.Tensor | None
    counted: torch.Tensor
    confidence: torch.Tensor | None = None
    right: torch.Tensor | None = None
    squared: torch.Tensor | None = None
    nats: torch.Tensor | None = None


def by_answer(
    outputs: torch.Tensor, reference: torch.Tensor, kind: OutputKind, targets: torch.Tensor | None
) -> Answered | None:
    """Look at outputs (items, ...) answer by answer; None where they are no scores of classes.

    Probabilities are the softmax of scores, or the scores where those of the reference are shares already.
    `targets` are class numbers of the shape of the answers, see `class_targets`.
    """
    own, before = kind.class_scores(outputs), kind.class_scores(reference)
    if own is None or before is None or own.shape != before.shape:
        return None
    if not own.numel() or own.is_complex():
        return None
    shares = _are_shares(before[:_LOOKED_AT])
    dtype = torch.float64 if own.numel() <= _MANY else torch.float32
    parts = [
        _looked_at(
            *(_flat(one, dtype), _flat(other, dtype)),
            None if target is None else target.reshape(len(one), -1),
            shares,
        )
        for one, other, target in _portions(own, before, targets)
    ]
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    found: dict[str, Any] = {name: each.double() for name, each in whole.items()}
    return Answered(**{"top": None, **found, "counted": whole["counted"]})


def class_targets(outputs: torch.Tensor, targets: torch.Tensor, kind: OutputKind) -> torch.Tensor | None:
    """Return targets as class numbers of the shape of the answers, -100 where they do not count.

    None where they are anything else than one class, or its one-hot form, for each answer.
    """
    scores = kind.class_scores(outputs)
    if scores is None:
        return None
    if kind.name == "scores" and targets.shape == outputs.shape:
        axis = kind.axis % outputs.dim()
        if axis not in one_hot_axes(targets):
            return None
        targets = targets.argmax(dim=axis)
    if targets.numel() != scores[..., 0].numel():
        return None
    try:
        numbers = (
            class_numbers(targets, scores.shape[-1]) if kind.name == "scores" else yes_or_no_targets(targets)
        )
    except StageError:
        return None
    return numbers.reshape(scores.shape[:-1])


def _are_shares(scores: torch.Tensor) -> bool:
    wide = scores.double()
    return bool((wide >= 0).all() and ((wide.sum(dim=-1) - 1).abs() < _ROUNDING).all())


def _flat(scores: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return scores (items, ..., classes) as (items, answers, classes)."""
    return scores.reshape(len(scores), -1, scores.shape[-1]).to(dtype)


def _portions(
    own: torch.Tensor, before: torch.Tensor, targets: torch.Tensor | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    step = max(1, _AT_ONCE // max(1, math.prod(own.shape[1:])))
    for start in range(0, len(own), step):
        place = slice(start, start + step)
        yield own[place], before[place], None if targets is None else targets[place]


def _looked_at(
    own: torch.Tensor, before: torch.Tensor, targets: torch.Tensor | None, shares: bool
) -> dict[str, torch.Tensor]:
    own_logs, logs = (
        each.clamp(min=0).log() if shares else each.log_softmax(dim=-1) for each in (own, before)
    )
    known = logs.exp()
    terms = torch.where(known == 0, torch.zeros_like(known), known * (logs - own_logs))
    found = {"kl": terms.sum(dim=-1), "counted": torch.ones(own.shape[:-1], dtype=torch.bool)}
    if own.shape[-1] > TOP:
        first, second = (each.topk(TOP, dim=-1).indices for each in (own, before))
        same = (first.unsqueeze(-1) == second.unsqueeze(-2)).any(dim=-1)
        found["top"] = same.double().mean(dim=-1)
    if targets is None:
        return found
    chosen = targets.clamp(min=0).unsqueeze(-1)
    probabilities = own_logs.exp()
    of_target = own_logs.gather(-1, chosen).squeeze(-1)
    right = (own.argmax(dim=-1) == targets) & ~own.isnan().any(dim=-1)
    return found | {
        "counted": targets != IGNORED,
        "confidence": probabilities.amax(dim=-1),
        "right": right.double(),
        "squared": probabilities.square().sum(dim=-1) - 2 * of_target.exp() + 1,
        "nats": -of_target,
    }
