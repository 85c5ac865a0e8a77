"""Clipped gradients, and a record of how often they were."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils import clip_grad_norm_

from techniques.registry import CannotApply

_KEPT_ON_DEVICE = 1024

Clipped = tuple[torch.Tensor, torch.Tensor]
"""The norm of all gradients before, and whether they were clipped."""


def none(parameters: Iterable[torch.Tensor]) -> Clipped:
    """Leave gradients as they are; return their norm, and no."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return norm, torch.zeros_like(norm, dtype=torch.bool)


def norm(parameters: Iterable[torch.Tensor], limit: float) -> Clipped:
    """Scale all gradients together down to a norm of `limit` where it is larger, as `clip_grad_norm_` does.

    Raises CannotApply for sparse gradients. Source: Pascanu, Mikolov & Bengio 2013, "On the Difficulty of
    Training Recurrent Neural Networks".
    """
    trained = list(parameters)
    try:
        found = clip_grad_norm_(trained, limit)
    except RuntimeError as error:
        if any(each.grad is not None and each.grad.layout != torch.strided for each in trained):
            raise CannotApply("clip=norm: sparse gradients cannot be clipped") from error
        raise
    of_all = getattr(found, "full_tensor", None)  # of gradients that are kept in parts by several devices
    found = found if of_all is None else of_all()
    return found, found > limit


@dataclass(frozen=True)
class ClippingRecord:
    """How often gradients were clipped, of all steps whose gradients were finite, and what norms they had."""

    steps: int
    bound: int
    median_norm: float
    max_norm: float

    @property
    def share(self) -> float:
        """Return the share of the steps in which gradients were clipped."""
        return self.bound / self.steps


class ClippingLog:
    """Collects what each step's clipping returned; the device is waited for once in a thousand steps."""

    def __init__(self) -> None:
        self._waiting: list[Clipped] = []
        self._norms, self._bound = array("d"), array("b")

    def add(self, clipped: Clipped) -> None:
        """Keep the norm and the answer of one step."""
        self._waiting.append(clipped)
        if len(self._waiting) >= _KEPT_ON_DEVICE:
            self._fetch()

    def record(self) -> ClippingRecord | None:
        """Return what was collected so far; None where no step had finite gradients.

        fp16 takes no step with gradients that are not finite: its scale was too high.
        """
        self._fetch()
        pairs = zip(self._norms, self._bound, strict=True)
        finite = [(norm, bound) for norm, bound in pairs if norm < float("inf")]
        if not finite:
            return None
        norms = [norm for norm, _ in finite]
        return ClippingRecord(
            len(finite), sum(bound for _, bound in finite), statistics.median(norms), max(norms)
        )

    def _fetch(self) -> None:
        norms, bound = (_numbers([pair[place] for pair in self._waiting]) for place in (0, 1))
        self._norms.extend(norms)
        self._bound.extend(map(int, bound))
        self._waiting.clear()


def _numbers(scalars: Sequence[torch.Tensor]) -> list[float]:
    """Return scalars as numbers of Python, waiting once for all of them."""
    return torch.stack([each.detach() for each in scalars]).tolist() if scalars else []
