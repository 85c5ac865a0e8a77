"""Splits the cells of a matrix into shards that take about as long and repeat little of each other's work.

Cells of one training stay together, so that no model is trained or compressed twice; so do all cells of an
optimizer that trials tune, so that no trial is made twice. What other cells of several
trainings share, such as the timing of a structure, is done by every shard that needs it; a shard that does
it already is therefore preferred. This is scheduling by the longest processing time first (Graham, "Bounds
on multiprocessing timing anomalies", 1969), with costs that depend on what a shard has.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.errors import MatrixError
from bench.matrix.cells import Cell, Matrix
from bench.plan.planner import Plan, runs_alone
from bench.plan.sharing import shared_by

MAX_SHARDS = 10_000


@dataclass(frozen=True)
class Shard:
    """One part of `of`, counted from 1. `split` is a hash of how all cells were split, empty if not known.

    One that is known before the split is made must come out of it.
    """

    number: int
    of: int
    split: str = ""

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """Read `2/5`, or `2/5@` with the split that other shards of the matrix showed; raises MatrixError."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})(?:@([0-9a-f]{12}))?", text)
    number, of = map(int, found.groups()[:2]) if found else (0, 0)
    if not found or not 1 <= number <= of <= MAX_SHARDS:
        raise MatrixError(
            "--shard: must be as 2/5, or 2/5@ and the 12 digits of a split, "
            f"of at most {MAX_SHARDS:,} shards, got {text!r}"
        )
    return Shard(number, of, found[3] or "")


def shard_of(matrix: Matrix, plan: Plan, shard: Shard, seconds: Mapping[str, float]) -> tuple[Matrix, Shard]:
    """Return the part of a matrix that a shard has, and the shard with the hash of the split.

    `plan` is that of the whole matrix, and `seconds` what each of its stages takes. Both must be the same
    wherever another shard of the matrix is run; the hash shows whether they were. Raises MatrixError where
    the shard would be empty, or where the split is not the one that `shard` has.
    """
    chains = _chains(matrix.cells, plan, seconds)
    places = _assigned(chains, shard.of)
    assigned = [(chain.name, place) for chain, place in zip(chains, places, strict=True)]
    own = {name for name, place in assigned if place == shard.number - 1}
    if not own:
        raise MatrixError(
            f"--shard {shard}: is empty; the matrix has {len(chains)} trainings, whose cells stay together"
        )
    cells = tuple(cell for cell in matrix.cells if cell.chain in own)
    split = hashlib.sha256(repr(assigned).encode()).hexdigest()[:12]
    if shard.split not in ("", split):
        raise MatrixError(
            f"--shard {shard}@{shard.split}: here the matrix is split as {split}; "
            "this machine has other runtimes, or another version of the suite, than that of the other shard"
        )
    further = tuple(cell for cell in matrix.further if cell.chain in own)
    return replace(matrix, cells=cells, further=further), replace(shard, split=split)


@dataclass
class _Chain:
    """The cells of one training: the seconds of their stages, those of stages of other chains too aside."""

    name: tuple[str | int, ...]
    own_s: float = 0.0
    shared: dict[str, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        return self.own_s + sum(self.shared.values())


def _chains(cells: Sequence[Cell], plan: Plan, seconds: Mapping[str, float]) -> list[_Chain]:
    stages: dict[tuple[str | int, ...], set[str]] = {}
    for cell, row in zip(cells, plan.cells, strict=True):
        _add_with_parents(stages.setdefault(cell.chain, set()), map(str, row.stages.values()), plan)
    users = Counter(key for keys in stages.values() for key in keys)
    chains = []
    for name, keys in stages.items():
        chain = _Chain(name)
        # Sums of floats depend on their order, and keys on the CPU; names are the same on every machine.
        for key in sorted(keys, key=lambda key: (plan.stages[key].kind, plan.stages[key].label)):
            # Stages that run alone occupy all cores, the others one.
            elapsed_s = seconds[key] * (1.0 if runs_alone(plan.stages[key]) else 0.5)
            if users[key] > 1:
                chain.shared[key] = elapsed_s
            else:
                chain.own_s += elapsed_s
        chains.append(chain)
    return chains


def _add_with_parents(known: set[str], keys: Iterable[str], plan: Plan) -> None:
    waiting = [key for key in keys if key not in known]
    while waiting:
        key = waiting.pop()
        known.add(key)
        stage = plan.stages[key]
        # A timing that artifacts share names one of them as its parent, which may be another training's.
        parents = () if shared_by(stage.kind) else stage.parents
        waiting += [parent for parent in parents if parent not in known]


def _assigned(chains: Sequence[_Chain], count: int) -> list[int]:
    """Return the shard of each chain, from 0."""
    loads = [0.0] * count
    has: list[set[str]] = [set() for _ in range(count)]
    places = [0] * len(chains)
    for index in sorted(range(len(chains)), key=lambda index: (-chains[index].total_s, index)):
        chain = chains[index]
        added = [
            chain.own_s + sum(cost for key, cost in chain.shared.items() if key not in known) for known in has
        ]
        place = min(range(count), key=lambda shard: (loads[shard] + added[shard], shard))
        places[index] = place
        loads[place] += added[place]
        has[place].update(chain.shared)
    return places
