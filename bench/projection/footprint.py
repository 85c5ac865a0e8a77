"""Memory of a model at any batch size, from traces at two: the size of each storage grows evenly with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bench.projection.allocator import reserved_bytes
from bench.projection.trace import Trace

SMALL, LARGE = 2, 3
"""Batch sizes that are traced. Of a single sample some copies are none, so it is not among them."""

MAX_BATCH = 1 << 20
"""The largest batch that is looked for."""

Bytes = NDArray[np.int64]


@dataclass(frozen=True)
class Peak:
    """Bytes of tensors at the peak of a step, by what they are.

    `weights` have the buffers. `gradients` are those of weights that are there by then, `all_gradients` those
    at the end. `activations` are what the forward pass keeps for the backward one, inputs too. `temporaries`
    are the rest: gradients of activations, and what is kept for a few operators. `fragmentation` is what
    CUDA's caching allocator holds beside them.
    """

    weights: int
    gradients: int
    all_gradients: int
    activations: int
    temporaries: int
    fragmentation: int = 0

    @property
    def total(self) -> int:
        """Return all bytes of tensors, without fragmentation."""
        return self.weights + self.gradients + self.activations + self.temporaries


class Footprint:
    """Two traces of one step, at `SMALL` and `LARGE` batches."""

    def __init__(self, trace: Callable[[int], Trace]) -> None:
        self.small, self.large = trace(SMALL), trace(LARGE)
        self._same = self.small.events == self.large.events
        self._kinds = _kinds(self.small)
        self._peaks: dict[tuple[int, bool], Peak] = {}

    def sizes(self, batch: int) -> Bytes:
        """Return the bytes of each storage at a batch size."""
        small = np.array(self.small.sizes, dtype=np.int64)
        growth = np.array(self.large.sizes, dtype=np.int64) - small
        return small + (batch - SMALL) * growth

    def peak(self, batch: int, *, fragmentation: bool = False) -> Peak:
        """Return the peak at a batch size; with what an allocator would hold beside it, if asked."""
        key = batch, fragmentation
        if key not in self._peaks:
            self._peaks[key] = self._find_peak(batch, fragmentation)
        return self._peaks[key]

    def _find_peak(self, batch: int, fragmentation: bool) -> Peak:
        if not self._same:  # another operator at another size: then each part grows evenly
            return _between(_peak(self.small), _peak(self.large), batch)
        sizes = self.sizes(batch)
        held = reserved_bytes(sizes.tolist(), _dynamic(self.small)) if fragmentation else 0
        return _peak_of(sizes, self.small.events, self._kinds, held)

    def flops(self, batch: int) -> tuple[int, int, int]:
        """Return FLOPs of the forward and the backward pass, and of what the latter computes again."""
        pairs = (
            (getattr(self.small, part).total, getattr(self.large, part).total)
            for part in ("forward", "backward", "recomputed")
        )
        forward, backward, again = (small + (batch - SMALL) * (large - small) for small, large in pairs)
        return forward, backward, again

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the operators that no formula counts."""
        counts = (self.small.forward, self.small.backward)
        return tuple(sorted({name for count in counts for name in count.unknown}))


_WEIGHTS, _GRADIENTS, _ACTIVATIONS, _TEMPORARIES = range(4)


def _kinds(trace: Trace) -> Bytes:
    kinds = np.full(len(trace.sizes), _TEMPORARIES, dtype=np.int64)
    for numbers, kind in (
        (trace.kept | trace.inputs, _ACTIVATIONS),
        (trace.gradients, _GRADIENTS),
        (trace.weights, _WEIGHTS),
    ):
        kinds[sorted(numbers)] = kind
    return kinds


def _dynamic(trace: Trace) -> list[int]:
    """Return the events of all but the weights, which stay where they are."""
    return [event for event in trace.events if abs(event) - 1 not in trace.weights]


def _peak(trace: Trace) -> Peak:
    return _peak_of(np.array(trace.sizes, dtype=np.int64), trace.events, _kinds(trace), 0)


def _peak_of(sizes: Bytes, events: tuple[int, ...], kinds: Bytes, reserved: int) -> Peak:
    moves = np.array(events, dtype=np.int64)
    numbers = np.abs(moves) - 1
    totals = np.cumsum(np.sign(moves) * sizes[numbers])
    until = int(np.argmax(totals)) + 1
    alive = np.zeros(len(sizes), dtype=np.int64)
    np.add.at(alive, numbers[:until], np.sign(moves[:until]))
    by_kind = [int((alive * sizes)[kinds == kind].sum()) for kind in range(4)]
    gradients = int(sizes[kinds == _GRADIENTS].sum())
    moving = numbers[kinds[numbers] != _WEIGHTS]
    signs = np.sign(moves[kinds[numbers] != _WEIGHTS])
    most = int(np.cumsum(signs * sizes[moving]).max(initial=0))
    weights, own, activations, temporaries = by_kind
    return Peak(weights, own, gradients, activations, temporaries, max(0, reserved - most))


def _between(small: Peak, large: Peak, batch: int) -> Peak:
    return Peak(
        **{
            part.name: max(
                0,
                getattr(small, part.name)
                + (batch - SMALL) * (getattr(large, part.name) - getattr(small, part.name)),
            )
            for part in fields(Peak)
        }
    )


def largest(fits: Callable[[int], bool]) -> int:
    """Return the largest number up to `MAX_BATCH` that fits, 0 where none does. What is smaller fits too."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= MAX_BATCH and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
