"""How much more quality a model loses on corrupted test items than another one, and whether by chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.groups import FALSE_DISCOVERIES
from bench.analysis.paired import Loss, Values, false_discovery_rates, loss_of_resamples, resampled

CLEAN = "clean"
"""What the test items without corruption are called."""

_STATISTICS: Mapping[str, Callable[[Values], Values]] = {
    "item_right": lambda values: values.mean(axis=-1),
    "item_nats": lambda values: np.exp(-values.mean(axis=-1)),
}
"""The quality that follows from what items got, by its metric; of `resampled_quality` it is kept itself."""


@dataclass(frozen=True)
class Corrupted:
    """A quality on test items corrupted in one way, and what of each item it follows from.

    `values` are (items,) of the metric `kept`, or (resamples,) where that is `resampled_quality`; empty where
    nothing was kept.
    """

    quality: float
    kept: str
    values: Values

    @property
    def resamples(self) -> Values:
        """The quality on resamples of the items (resamples,): the same ones for all values of one length."""
        statistic = _STATISTICS.get(self.kept)
        return self.values if statistic is None else resampled(self.values[None], statistic)[0]


@dataclass(frozen=True)
class CorruptionLoss:
    """The share of its clean quality that one model keeps under a corruption, less what the other keeps.

    `q` is its p among those of all corruptions that were compared together, None where it has none.
    """

    loss: Loss
    q: float | None = None

    @property
    def flagged(self) -> bool:
        """Whether the model loses more than the other, by more than chance explains."""
        return self.q is not None and self.q <= FALSE_DISCOVERIES and self.loss.value > 0


def corruption_losses(
    before: Mapping[str, Corrupted], after: Mapping[str, Corrupted]
) -> dict[str, CorruptionLoss]:
    """Compare two models under each corruption, on the same items; all are tested together.

    Both map corruptions, and `CLEAN`, to what was measured. Left out is what either model has not, and what
    can't be compared: a clean quality of 0 or less, other items, numbers that are not finite.
    """
    found = {
        name: CorruptionLoss(loss)
        for name in after
        if name != CLEAN and (loss := _loss(before, after, name)) is not None
    }
    tested = [(name, each.loss.p) for name, each in found.items() if each.loss.p is not None]
    rates = false_discovery_rates([p for _, p in tested])
    for (name, _), rate in zip(tested, rates, strict=True):
        found[name] = replace(found[name], q=rate)
    return found


def _loss(before: Mapping[str, Corrupted], after: Mapping[str, Corrupted], name: str) -> Loss | None:
    if any(key not in model for key in (name, CLEAN) for model in (before, after)):
        return None
    parts = [model[key] for model in (before, after) for key in (name, CLEAN)]
    if len({(part.kept, len(part.values)) for part in parts}) > 1 and parts[0].kept in _STATISTICS:
        return None
    if any(not len(part.values) or not np.isfinite(part.values).all() for part in parts):
        return None  # a store may hold any numbers
    spreads = [part.resamples for part in parts]
    count = min(map(len, spreads))
    if min(part.quality for part in parts[1::2]) <= 0 or min(spread.min() for spread in spreads[1::2]) <= 0:
        return None
    first, second, own_first, own_second = (spread[:count] for spread in spreads)
    kept, own_kept = parts[0].quality / parts[1].quality, parts[2].quality / parts[3].quality
    return loss_of_resamples(kept, own_kept, (first / second, own_first / own_second))
