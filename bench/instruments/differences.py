"""How far outputs are from others: where both are finite and unmasked, over a scale that masks do not set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

MASK = -1e3
"""Numbers below may stand for minus infinity: -1e4, -1e9, the least of a type."""
MASK_GAP = 100
"""They do where they are so many times as large as any other number."""


@dataclass(frozen=True)
class Difference:
    """The largest difference, over the largest magnitude of the reference (`scale`), and the cosine.

    `compared` of `total` numbers are finite and unmasked in both. `elsewhere` counts those that are masked or
    infinite in one only, `lost` those that are NaN where the reference is not, `undefined` those of the
    reference that are NaN.
    """

    absolute: float
    relative: float
    cosine: float
    scale: float
    compared: int
    total: int
    elsewhere: int
    lost: int
    undefined: int

    @property
    def fault(self) -> str:
        """Say what no tolerance allows, empty where there is nothing of it."""
        if self.lost:
            return f"outputs are not finite: {self.lost:,} of {self.total:,} are NaN"
        if self.elsewhere:
            return f"{self.elsewhere:,} of {self.total:,} outputs are masked or infinite in one of both only"
        return "" if self.compared or not self.total else "no output is finite in both"

    @property
    def method(self) -> str:
        """Say relative to what, and what was left out."""
        masked = self.total - self.compared - self.undefined
        left_out = {"masked or not finite in both": masked, "NaN in the reference": self.undefined}
        told = (f"; {count:,} of {self.total:,} {what}" for what, count in left_out.items() if count)
        return f"over {self.scale:.3g}, the reference's largest magnitude{''.join(told)}"


def difference(outputs: torch.Tensor, reference: torch.Tensor, *, masks: bool = True) -> Difference:
    """Compare outputs with a reference of the same shape; complex numbers part by part.

    With `masks`, negative numbers far beyond all others stand for minus infinity; without, they are compared
    at a scale of their own.
    """
    found, wanted = _flat(outputs), _flat(reference)
    hidden = _masked(wanted)
    low, own_low = found == -math.inf, wanted == -math.inf
    if masks and hidden.any():
        # Not near the reference's own masks: the least number of fp16 stands for the least of fp32.
        rest = wanted[~hidden & wanted.isfinite()].abs().max().item()
        low |= found <= min(MASK, -MASK_GAP * rest) / 2
        own_low |= hidden
    high, own_high = found == math.inf, wanted == math.inf
    lost = found.isnan() & ~wanted.isnan()
    elsewhere = ((low != own_low) | (high != own_high)) & ~lost & ~wanted.isnan()
    both = found.isfinite() & wanted.isfinite() & ~low & ~own_low
    groups = [both] if masks else [both & ~hidden, both & hidden]
    errors = [_error(found[group], wanted[group]) for group in groups]
    absolute = max(error for error, _ in errors)
    return Difference(
        absolute,
        max(_over(error, scale) for error, scale in errors),
        _cosine(found[groups[0]], wanted[groups[0]]),
        errors[0][1],
        int(both.sum()),
        len(found),
        int(elsewhere.sum()),
        int(lost.sum()),
        int(wanted.isnan().sum()),
    )


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    numbers = torch.view_as_real(tensor.to(torch.complex128)) if tensor.is_complex() else tensor.double()
    return numbers.flatten()


def _masked(reference: torch.Tensor) -> torch.Tensor:
    """Say which numbers are finite and so far below all others that they must be masks."""
    candidates = (reference <= MASK) & reference.isfinite()
    rest = reference[~candidates & reference.isfinite()]
    if not candidates.any() or not rest.numel():
        return torch.zeros_like(candidates)
    beyond = -reference[candidates].max() >= MASK_GAP * rest.abs().max()
    return candidates if beyond else torch.zeros_like(candidates)


def _error(found: torch.Tensor, wanted: torch.Tensor) -> tuple[float, float]:
    if not found.numel():
        return 0.0, 0.0
    return (found - wanted).abs().max().item(), wanted.abs().max().item()


def _over(error: float, scale: float) -> float:
    return error / scale if scale else (math.inf if error else 0.0)


def _cosine(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the cosine of all numbers as one vector.

    Of each sample's own it would tell little: two scores near 0 turn round by the least of rounding.
    """
    if not found.numel():
        return math.nan
    return torch.nn.functional.cosine_similarity(found, wanted, dim=0).item()
