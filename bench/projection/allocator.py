"""How much memory CUDA's caching allocator takes for a sequence of allocations: its fragmentation.

The rules and sizes are those of PyTorch's c10/cuda/CUDACachingAllocator.cpp with its default settings: blocks
are cut from segments, best fit, and merged again; segments are kept.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ROUND = 512
_SMALL = 1 << 20
_SMALL_SEGMENT = 2 << 20
_LARGE_SEGMENT = 20 << 20
_OWN_SEGMENT = 10 << 20
_SEGMENT_ROUND = 2 << 20


@dataclass(eq=False)
class _Block:
    """A piece of a segment; `before` and `after` are its neighbours."""

    size: int
    small: bool
    free: bool = False
    before: _Block | None = None
    after: _Block | None = None


class CachingAllocator:
    """Blocks given out, and the bytes of the segments that they are cut from."""

    def __init__(self) -> None:
        self.reserved_bytes = 0
        self._free: dict[bool, list[tuple[int, int, _Block]]] = {True: [], False: []}

    def allocate(self, size: int) -> _Block:
        """Give out a block of at least so many bytes."""
        rounded = max(_ROUND, -(-size // _ROUND) * _ROUND)
        small = rounded <= _SMALL
        pool = self._free[small]
        place = bisect_left(pool, (rounded,))
        if place < len(pool):
            block = pool.pop(place)[2]
            block.free = False
        else:
            block = _Block(_segment(rounded), small)
            self.reserved_bytes += block.size
        self._split(block, rounded)
        return block

    def free(self, block: _Block) -> None:
        """Take a block back, and merge it with free neighbours."""
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.free:
                self._merge(block, neighbour)
        self._keep(block)

    def _split(self, block: _Block, size: int) -> None:
        rest = block.size - size
        if rest < _ROUND if block.small else rest <= _SMALL:
            return
        after = _Block(rest, block.small, before=block, after=block.after)
        if block.after is not None:
            block.after.before = after
        block.after, block.size = after, size
        self._keep(after)

    def _merge(self, block: _Block, neighbour: _Block) -> None:
        pool = self._free[block.small]
        pool.pop(bisect_left(pool, (neighbour.size, id(neighbour))))
        block.size += neighbour.size
        if neighbour is block.before:
            block.before = neighbour.before
            if block.before is not None:
                block.before.after = block
        else:
            block.after = neighbour.after
            if block.after is not None:
                block.after.before = block

    def _keep(self, block: _Block) -> None:
        block.free = True
        insort(self._free[block.small], (block.size, id(block), block))


def _segment(size: int) -> int:
    if size <= _SMALL:
        return _SMALL_SEGMENT
    if size < _OWN_SEGMENT:
        return _LARGE_SEGMENT
    return -(-size // _SEGMENT_ROUND) * _SEGMENT_ROUND


def reserved_bytes(sizes: Sequence[int], events: Iterable[int]) -> int:
    """Return the bytes that the allocator takes for storages of `sizes`.

    `events` has a storage's number + 1 where it is made, and its negative where it is freed.
    """
    allocator = CachingAllocator()
    blocks: dict[int, _Block] = {}
    for event in events:
        number = abs(event) - 1
        if not sizes[number]:
            continue
        if event < 0:
            allocator.free(blocks.pop(number))
        else:
            blocks[number] = allocator.allocate(sizes[number])
    return allocator.reserved_bytes
