"""Grids of few levels that groups of weights are rounded to, as the formats of few bits have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Kind = Literal["affine", "symmetric", "narrow"]


@dataclass(frozen=True)
class Levels:
    """Whole multiples of a scale for each group of weights, from `lowest` to `highest`; one of them is 0.

    `scale`, `lowest` and `highest` have the weights' shape, but for a last axis of 1.
    """

    scale: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor

    def nearest(self, weights: torch.Tensor, shift: torch.Tensor | float = 0.0) -> torch.Tensor:
        """Return weights (..., group) rounded to the nearest level, after a `shift` in parts of the scale."""
        steps = (weights / self.scale + shift).round()
        return torch.minimum(torch.maximum(steps, self.lowest), self.highest) * self.scale


@dataclass(frozen=True)
class Grid:
    """2^`bits` levels for each `group` of neighbouring inputs of an output, or for each output if it is 0.

    `affine` levels lie evenly from the least to the largest weight of a group, moved so that 0 is one: the
    grid of ONNX Runtime's int4 weights. Weights on it that use both ends of each group are on the grid that
    ONNX Runtime and PyTorch choose for them, and keep their values. `symmetric` levels are -2^(bits - 1) to
    2^(bits - 1) - 1 times the weight of largest magnitude over -2^(bits - 1): the grid of OpenVINO's int4.
    `narrow` levels leave the lowest of these out, so that the ends are alike: the grid of int8 weights in
    ONNX Runtime, XNNPACK and NNCF.
    """

    bits: int = 4
    group: int = 32
    kind: Kind = "affine"

    def size(self, inputs: int) -> int:
        """Return the inputs of a group, of so many in all."""
        return self.group or inputs

    def levels(self, weights: torch.Tensor) -> Levels:
        """Return the levels of groups of weights (..., group)."""
        least, most = weights.amin(-1, keepdim=True), weights.amax(-1, keepdim=True)
        if self.kind == "narrow":
            end = 2 ** (self.bits - 1) - 1
            scale = _never_zero(torch.maximum(-least, most) / end)
            return Levels(scale, torch.full_like(scale, -end), torch.full_like(scale, end))
        if self.kind == "symmetric":
            half = 2 ** (self.bits - 1)
            extreme = torch.where(-least >= most, least, most)
            scale = _never_zero(extreme / -half)
            return Levels(scale, torch.full_like(scale, -half), torch.full_like(scale, half - 1))
        steps = 2**self.bits - 1
        least, most = least.clamp(max=0), most.clamp(min=0)
        scale = _never_zero((most - least) / steps)
        lowest = (least / scale).round()
        return Levels(scale, lowest, lowest + steps)

    def nearest(self, weight: torch.Tensor) -> torch.Tensor:
        """Return a weight (outputs, inputs) rounded to the nearest levels of its groups."""
        groups = weight.unflatten(1, (-1, self.size(weight.shape[1])))
        return self.levels(groups).nearest(groups).flatten(1)


def ends(weights: torch.Tensor) -> torch.Tensor:
    """Return where groups of weights (..., group) have their least and their largest, as bool."""
    found = torch.zeros_like(weights, dtype=torch.bool)
    for place in (weights.argmin(-1, keepdim=True), weights.argmax(-1, keepdim=True)):
        found.scatter_(-1, place, True)
    return found


def _never_zero(scale: torch.Tensor) -> torch.Tensor:
    # Of a group of zeros alone any scale will do.
    return torch.where(scale == 0, 1.0, scale)
