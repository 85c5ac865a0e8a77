"""How a lowered model stores and multiplies numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from techniques.compression.formats import AUTO, PERCENTILE
from techniques.precisions import PRECISIONS
from techniques.settings import Setting


@dataclass(frozen=True)
class Numerics:
    """How numbers are stored and multiplied: the name of a format or None, and the precision of the rest.

    `settings` are the format's own, those that differ from the defaults of its row or all. `kept` names the
    modules of the model whose layers stay in the precision.
    """

    format: str | None
    precision: str
    settings: Mapping[str, Setting] = field(default_factory=dict, hash=False)
    kept: tuple[str, ...] = ()

    @property
    def calibration(self) -> str:
        """Return how a static format finds the ranges of activations; `auto` is the library's own way."""
        return str(self.settings.get("calibration", AUTO))

    @property
    def cut_share(self) -> float:
        """Return the share of an activation's numbers beyond each end of its range, by `percentile`."""
        return (100 - float(self.settings.get("percentile", PERCENTILE))) / 200

    @property
    def dtype(self) -> torch.dtype:
        """Return PyTorch's type of the precision; raises KeyError for an unknown one."""
        dtype: torch.dtype = getattr(torch, PRECISIONS[self.precision].dtype)
        return dtype
