"""What counters of several threads add to: FLOPs by operator, those done again, operators without a count."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from bench.instruments.flop_table import flops_of, recomputed_of

Saw = Callable[[Any, int, Any], None]


@dataclass(frozen=True)
class FlopCount:
    """FLOPs in all and by operator. `unknown` names operators that did more and have no formula."""

    total: int
    by_operator: Mapping[str, int]
    unknown: tuple[str, ...]

    def less(self, *parts: FlopCount) -> FlopCount:
        """Return what is left of a count without these parts of it; what they named is theirs."""
        left = Counter(self.by_operator)
        for part in parts:
            left.subtract(part.by_operator)
        by_operator = {operator: flops for operator, flops in left.items() if flops}
        named = {operator for part in parts for operator in part.unknown}
        unknown = tuple(operator for operator in self.unknown if operator not in named)
        return FlopCount(sum(by_operator.values()), by_operator, unknown)

    def per(self, calls: int) -> FlopCount:
        """Return the mean of so many calls, each operator's rounded to a whole number."""
        by_operator = {
            operator: (flops + calls // 2) // calls for operator, flops in self.by_operator.items()
        }
        return FlopCount(sum(by_operator.values()), by_operator, self.unknown)


def sum_of(counts: Iterable[FlopCount]) -> FlopCount:
    """Add counts up."""
    listed = list(counts)
    by_operator: Counter[str] = sum((Counter(each.by_operator) for each in listed), Counter())
    unknown = sorted({operator for each in listed for operator in each.unknown})
    return FlopCount(sum(by_operator.values()), dict(by_operator), tuple(unknown))


class Tally:
    """FLOPs of all threads that share it."""

    def __init__(self, saw: Saw | None = None) -> None:
        self._saw = saw
        self._lock = threading.Lock()
        self._by_operator: Counter[str] = Counter()
        self._recomputed: Counter[str] = Counter()
        self._unknown: set[str] = set()
        self._in_contraction = threading.local()

    def take(self) -> FlopCount:
        """Return all that was counted since the last time."""
        own, again = self.take_apart()
        by_operator = Counter(own.by_operator) + Counter(again.by_operator)
        return FlopCount(own.total + again.total, dict(by_operator), own.unknown)

    def take_apart(self) -> tuple[FlopCount, FlopCount]:
        """Return what was counted since the last time: done for the first time, and done again."""
        with self._lock:
            unknown = tuple(sorted(self._unknown))
            own, again = dict(self._by_operator), dict(self._recomputed)
            for entries in (self._by_operator, self._recomputed, self._unknown):
                entries.clear()
        return FlopCount(sum(own.values()), own, unknown), FlopCount(sum(again.values()), again, ())

    def note(self, operator: str) -> None:
        """Name an operator that did more than is counted."""
        with self._lock:
            self._unknown.add(operator)

    def enter(self, operator: Any, result: Any, args: Any, kwargs: Any) -> None:
        """Count an operator by its formula; a formula that does not fit its arguments names it."""
        try:
            flops = flops_of(operator, result, args, kwargs)
            again = flops if _is_replayed() else recomputed_of(operator, result, args, kwargs)
        except Exception:  # arguments that the formula was not written for
            self.note(str(operator))
            return
        if self._saw is not None:
            self._saw(operator, flops, args)
        self._add(str(operator), flops, again)

    def enter_multiplied(self, result: Any, args: Any) -> None:
        """Count an elementwise product that stands for an outer one, in `outer_products`."""
        if not getattr(self._in_contraction, "depth", 0) or not isinstance(args[1], torch.Tensor):
            return
        if result.numel() > max(args[0].numel(), args[1].numel()):
            flops = flops_of(torch.ops.aten.outer, result, args, {})
            self._add("aten.outer", flops, flops if _is_replayed() else 0)

    @contextmanager
    def outer_products(self) -> Iterator[None]:
        """In the block, count elementwise products of this thread that each operand is repeated for."""
        self._in_contraction.depth = getattr(self._in_contraction, "depth", 0) + 1
        try:
            yield
        finally:
            self._in_contraction.depth -= 1

    def _add(self, operator: str, flops: int, again: int) -> None:
        with self._lock:
            if flops > again:
                self._by_operator[operator] += flops - again
            if again:
                self._recomputed[operator] += again


def _is_replayed() -> bool:
    # A backward pass runs without gradients; what it runs with them is a forward pass done again.
    return torch._C._current_graph_task_id() != -1 and torch.is_grad_enabled()
