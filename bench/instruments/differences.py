"""How far outputs differ where both are finite; numbers far larger than the rest are compared separately.

Otherwise a mask of -1e9, or one number that is by far the largest, would make every other error look small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

LARGE = 100.0
"""Numbers from this magnitude on may have a scale of their own."""
GAP = 20.0
"""They do where they are this many times as large as the next smaller one ..."""
CHANCE = 1e-4
"""... and chance is unlikely: n numbers around 0 leave a gap of factor r with a probability of r**-n."""
MIN_MASK = 500.0
"""Outputs beyond it may be masks of a type with a narrower range than the reference: fp16 ends at -65504."""
BOUNDS = tuple(
    torch.finfo(kind).min for kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
)


@dataclass(frozen=True)
class Difference:
    """The largest difference, over the largest magnitude of the reference (`scale`), and the cosine.

    Numbers far larger than the rest have a scale of their own: `relative` and `cosine` are those of the worst
    scale, `absolute` leaves masks out, `beyond` counts the far larger numbers that are not masks.
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
    beyond: int = 0

    @property
    def fault(self) -> str:
        """Say what no tolerance allows; empty where all is well."""
        if self.lost:
            return f"outputs are not finite: {self.lost:,} of {self.total:,} are NaN"
        if self.elsewhere:
            return f"{self.elsewhere:,} of {self.total:,} outputs are masked or infinite in one of both only"
        return "" if self.compared or not self.total else "no output is finite in both"

    @property
    def method(self) -> str:
        """Say relative to what, and what was left out."""
        masked = self.total - self.compared - self.undefined
        left_out = {
            "far larger, over a scale of their own": self.beyond,
            "masked or not finite in both": masked,
            "NaN in the reference": self.undefined,
        }
        notes = (f"; {count:,} of {self.total:,} {what}" for what, count in left_out.items() if count)
        return f"over {self.scale:.3g}, the reference's largest magnitude{''.join(notes)}"


def difference(outputs: torch.Tensor, reference: torch.Tensor, *, masks: bool = True) -> Difference:
    """Compare outputs with a reference of the same shape; complex numbers part by part.

    Numbers of the reference that are far larger than the rest are compared at a scale of their own. With
    `masks`, the negative ones stand for minus infinity: the outputs must have theirs at the same places.
    """
    found, wanted = _flat(outputs), _flat(reference)
    levels = _levels(wanted, masks=masks)
    hidden = (levels > 0) & (wanted < 0) if masks else torch.zeros_like(wanted, dtype=torch.bool)
    low, own_low = found == -math.inf, wanted == -math.inf
    if hidden.any():
        low |= found <= -_least_mask(wanted, levels, hidden)
        own_low |= hidden
    high, own_high = found == math.inf, wanted == math.inf
    lost = found.isnan() & ~wanted.isnan()
    elsewhere = ((low != own_low) | (high != own_high)) & ~lost & ~wanted.isnan()
    finite = found.isfinite() & wanted.isfinite()
    both = finite & ~low & ~own_low
    groups = [both & (levels == level) for level in range(int(levels.max()) + 1)] if len(levels) else [both]
    # Masks are compared too: a number that is only very low could be taken for one.
    masked = finite & low & hidden
    groups += [masked & (levels == level) & ~_bound(found) for level in levels[masked].unique()]
    pairs = [(found[group], wanted[group]) for group in groups if group.any()] or [
        (found[both], wanted[both])
    ]
    return Difference(
        _error(found[both], wanted[both])[0],
        max(_over(*_error(*pair)) for pair in pairs),
        min(_cosine(*pair) for pair in pairs),
        _error(found[groups[0]], wanted[groups[0]])[1],
        int(both.sum()),
        len(found),
        int(elsewhere.sum()),
        int(lost.sum()),
        int(wanted.isnan().sum()),
        int((both & (levels > 0)).sum()),
    )


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    numbers = torch.view_as_real(tensor.to(torch.complex128)) if tensor.is_complex() else tensor.double()
    return numbers.flatten()


def _levels(reference: torch.Tensor, *, masks: bool) -> torch.Tensor:
    """Return of each number how many gaps lie below its magnitude: 0 for all where there is no gap."""
    sizes = torch.where(reference.isfinite(), reference.abs(), 0.0)
    large = sizes[sizes >= LARGE].sort().values
    rest = sizes[(sizes < LARGE) & reference.isfinite()]
    if not len(large):
        return torch.zeros_like(sizes, dtype=torch.long)
    only_masks = masks and not bool((reference[sizes >= LARGE] > 0).any())
    # Beside zeros alone every number is far larger: they are of another scale only where it is that of masks.
    with_rest = len(rest) > 0 and (bool(rest.any()) or only_masks)
    steps = torch.cat([rest.max().reshape(1), large]) if with_rest else large
    smaller = int((rest > 0).sum()) - 1 if with_rest else 0
    below = torch.arange(1, len(steps), device=steps.device) + max(smaller, 0)
    ratios = steps[1:] / steps[:-1]
    apart = (ratios >= GAP) & (below * ratios.log() >= -math.log(CHANCE))
    return torch.bucketize(sizes, steps[1:][apart], right=True)


def _least_mask(reference: torch.Tensor, levels: torch.Tensor, hidden: torch.Tensor) -> float:
    """Return the magnitude from which on outputs are masks: between the masks and the rest, near the rest."""
    below = levels == levels[hidden].min() - 1
    rest = reference[below & reference.isfinite()].abs().max().item()
    return min(math.sqrt(rest * -reference[hidden].max().item()) or MIN_MASK, max(MIN_MASK, 3 * rest))


def _bound(outputs: torch.Tensor) -> torch.Tensor:
    """Say which numbers are as low as a type of numbers goes, or nearly."""
    return torch.stack([(outputs / bound - 1).abs() <= 0.01 for bound in BOUNDS]).any(dim=0)


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
    scale = wanted.abs().max().item() or 1.0  # the square of a large number is infinite
    return torch.nn.functional.cosine_similarity(found / scale, wanted / scale, dim=0).item()
