"""Makes one run of several: shards of a matrix, or runs of one matrix on several machines.

Stages that several runs have are kept apart, each with its own launches, so that no timing is ever a mean
over machines. A cell that several machines have is there once for each of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.analysis.comparable import MACHINE
from bench.errors import StoreError
from bench.formatting import counted
from bench.records import Artifact
from bench.results.artifacts import copy_artifact, read_record
from bench.results.folder import alone_in, run_name
from bench.results.parts import Part, machines_of, shards_beside
from bench.results.store import CellRow, Launch, StageRow, Store

Say = Callable[[str], None]

_SAME = ("text", "filter", "workloads", "smoke", "budget", "estimate", "prices", "peaks")
"""What the requests of merged runs must have in common; so do the contents of their plug-ins."""

_SHOWN = 3
"""Differences of exact metrics that notes name."""


def merge(parts: Sequence[Part], into: Path, say: Say, url: str = "") -> str:
    """Enter all parts as one run in the store of `into`, copy their artifacts, and return the run's id.

    The store is a file in `into`, or at the `url` of a shared one. Raises StoreError where the parts are not
    of one matrix and split, or where a cell has two answers.
    """
    _check_matrices(parts)
    machines = machines_of(parts)
    notes = [*_check_shards(parts, machines), *_notes_of_unfinished(parts)]
    notes += _notes_of_machines(parts, machines)
    chosen = _chosen_cells(parts, machines)
    notes += chosen.notes()
    for note in notes:
        say(note)
    first = parts[0]
    request = {key: value for key, value in first.request.items() if key not in ("prediction", "shard")}
    request["notes"] = [*notes, *first.request.get("notes", ())]
    request["merged"] = [
        {"run": part.run_id, "shard": part.shard, "machine": machines[part.run_id]} for part in parts
    ]
    with alone_in(into.resolve()):
        store = Store.open(into, url)
        merged = _Merged()
        for part in parts:
            merged.take(part, chosen.cells[part.run_id], machines, into, say)
        return store.add_run(
            f"{first.run_id[:15]}-{run_name(first.run['matrix'])}-merged",
            hashlib.sha256("".join(sorted(part.run["identity"] for part in parts)).encode()).hexdigest(),
            first.run["matrix"],
            first.run["command"],
            request,
            merged.stages,
            merged.cells,
            merged.launches,
            merged.artifacts,
            merged.overheads,
        )


class _Merged:
    """The content of the merged run, taken from one part after the other."""

    def __init__(self) -> None:
        self.stages: list[StageRow] = []
        self.cells: list[CellRow] = []
        self.launches: list[Launch] = []
        self.artifacts: list[tuple[StageRow, Artifact]] = []
        self.overheads: Counter[str] = Counter()
        self._keys = _Keys()

    def take(
        self, part: Part, cells: Sequence[CellRow], machines: Mapping[str, str], into: Path, say: Say
    ) -> None:
        """Take cells of a part with their stages and launches, and copy their artifacts."""
        stages, named = _renamed(part, cells, self._keys)
        old = {self._keys.of(part, key): key for key in part.stages}
        kept = {old[stage.key]: stage for stage in stages}
        machine = machines[part.run_id] if len(set(machines.values())) > 1 else ""
        launches = (launch for launch in part.launches if launch.stage_key in kept)
        copied = [stage for key, stage in kept.items() if copy_artifact(part.results, key, into, stage.key)]
        records = [(stage, read_record(into, stage.key)) for stage in copied]
        self.stages += stages
        self.cells += named
        self.launches += (_renamed_launch(launch, kept, machine) for launch in launches)
        self.artifacts += [(stage, record.artifact) for stage, record in records if record is not None]
        self.overheads.update(part.store.overheads(part.run_id))
        say(f"{part}: {counted(len(kept), 'stage')}, {counted(len(copied), 'artifact')}")


class _Keys:
    """The keys of stages in the merged run: a part's own, or one of this part alone if it was taken."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def of(self, part: Part, key: str) -> str:
        owner = self._owners.setdefault(key, part.run_id)
        return key if owner == part.run_id else hashlib.sha256(f"{key} {part.run_id}".encode()).hexdigest()


def _renamed(part: Part, cells: Sequence[CellRow], keys: _Keys) -> tuple[list[StageRow], list[CellRow]]:
    """Return the stages that cells of a part need, and the cells, with their keys in the merged run."""
    own = {str(key) for cell in cells if not cell.skipped for key in cell.stages.values()}
    in_cells = {str(key) for cell in part.cells for key in cell.stages.values()}
    of_dropped = in_cells - own
    needed = part.with_parents(own)
    stages = [
        _renamed_stage(part, stage, keys)
        for key, stage in part.stages.items()
        if key in needed or key not in of_dropped
    ]
    named = [
        replace(cell, stages={kind: keys.of(part, str(key)) for kind, key in cell.stages.items()})
        for cell in cells
    ]
    return stages, named


def _renamed_stage(part: Part, stage: StageRow, keys: _Keys) -> StageRow:
    key = keys.of(part, stage.key)
    label = stage.label if key == stage.key else f"{stage.label} ({part.run_id})"
    parents = {role: keys.of(part, parent) for role, parent in stage.request.parents.items()}
    return replace(
        stage,
        key=key,
        label=label,
        parents=tuple(keys.of(part, parent) for parent in stage.parents),
        request=replace(stage.request, parents=parents),
    )


def _renamed_launch(launch: Launch, stages: Mapping[str, StageRow], machine: str) -> Launch:
    """Return a launch under its key in the merged run; one of several machines is marked with its own."""
    environment = launch.result.environment
    if machine:
        environment = {MACHINE: machine, **environment}  # one that was merged before keeps its name
    result = replace(launch.result, environment=environment)
    return replace(launch, stage_key=stages[launch.stage_key].key, result=result)


def _check_matrices(parts: Sequence[Part]) -> None:
    first, *others = parts
    for part in others:
        if part.run["matrix"] != first.run["matrix"]:
            raise StoreError(
                f"{part} is of the matrix {part.run['matrix']}, but {first} of {first.run['matrix']}"
            )
        differ = [
            name for name in _SAME if (part.request.get(name) or None) != (first.request.get(name) or None)
        ]
        if _plugins(part) != _plugins(first):
            differ.append("plug-ins")
        if differ:
            what = "matrix file" if differ[0] == "text" else differ[0]
            raise StoreError(f"{part} and {first} differ in their {what}; merge runs of one command")
    if len({part.run_id for part in parts}) < len(parts):
        raise StoreError(f"run {first.run_id} is given twice; give each run once")


def _plugins(part: Part) -> list[str]:
    """Return the digests of a run's plug-ins, wherever they lie on its machine."""
    return sorted(part.request.get("plugins", {}).values())


def _check_shards(parts: Sequence[Part], machines: Mapping[str, str]) -> Iterator[str]:
    """Yield what is missing of a split; raises StoreError where shards do not belong together."""
    shards = {part: part.shard for part in parts}
    first, shard = next(((part, shard) for part, shard in shards.items() if shard), (None, None))
    if first is None or shard is None:
        return
    numbers: dict[int, Part] = {}
    for part, other in shards.items():
        if other is None:
            raise StoreError(f"{part} is no shard, but {first} is; merge shards of one split")
        if (other["of"], other["split"]) != (shard["of"], shard["split"]):
            raise StoreError(
                f"{part} is shard {other['number']}/{other['of']} of split {other['split']}, but {first} is "
                f"of split {shard['split']} in {shard['of']}: their machines have different runtimes, or "
                "different versions of the suite"
            )
        before = numbers.setdefault(other["number"], part)
        if before is not part and machines[part.run_id] == machines[before.run_id]:
            raise StoreError(f"shard {other['number']} is given twice: {before}, {part}")
    missing = [number for number in range(1, shard["of"] + 1) if number not in numbers]
    if missing:
        beside = dict.fromkeys(str(place) for part in parts for place in shards_beside(part, missing))
        also = f"; give {', '.join(beside)} too" if beside else ""
        which = f"{', '.join(map(str, missing))} of {shard['of']}"
        yield f"shards {which} are missing, with all their cells{also}"


def _notes_of_unfinished(parts: Sequence[Part]) -> Iterator[str]:
    """Yield which runs are merged before they have ended, and which stand for a later one."""
    for part in parts:
        if part.instead_of:
            yield f"run {part.run_id} is merged: {part.instead_of}, a later one of its command, has not ended"
        elif not part.has_ended:
            missing = f"{part.without_result:,} of {counted(len(part.stages), 'stage')}"
            yield f"run {part.run_id} had not ended: {missing} have no result, others may have fewer launches"


def _notes_of_machines(parts: Sequence[Part], machines: Mapping[str, str]) -> Iterator[str]:
    """Yield which runs each machine measured, and how many hosts of one kind are taken for one machine."""
    groups: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        if part.environments:  # otherwise it has measured nothing
            groups[machines[part.run_id]].append(part)
    for machine, own in groups.items():
        hosts = len({str(part.run["host"]) for part in own})
        of = f"{hosts} hosts of the kind {machine}" if hosts > 1 else machine
        if len(groups) > 1 or hosts > 1:
            yield f"measured on {of}: {', '.join(part.run_id for part in own)}"


@dataclass
class _Chosen:
    """The cells of each part by its run's id, and how the choice was made."""

    cells: dict[str, list[CellRow]]
    repeated: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Cells that one machine has twice, by the run whose answer is kept and the other one."""
    replaced: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Those that failed in the other one."""
    differences: list[str] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        for (kept, other), count in self.repeated.items():
            yield f"{counted(count, 'cell')} of run {other} left out: run {kept} has them of the same machine"
        for (kept, other), count in self.replaced.items():
            yield f"{counted(count, 'cell')} that failed in run {other} are taken from run {kept}"
        yield from self.differences[:_SHOWN]
        if len(self.differences) > _SHOWN:
            yield f"{len(self.differences) - _SHOWN:,} more exact values differ between machines"


def _chosen_cells(parts: Sequence[Part], machines: Mapping[str, str]) -> _Chosen:
    """Choose the cells of each part: one that a machine has twice is the first's, or the one that is ok.

    A cell that several machines have is named with its machine.
    """
    having: dict[str, dict[str, tuple[Part, CellRow]]] = defaultdict(dict)
    chosen = _Chosen({part.run_id: [] for part in parts})
    for part in parts:
        for cell in part.cells:
            own = having[cell.name]
            earlier = own.setdefault(machines[part.run_id], (part, cell))
            if earlier[0] is part:
                continue
            _refuse_two_answers(*earlier, part, cell)
            if part.answered(cell) and not earlier[0].answered(earlier[1]):
                own[machines[part.run_id]] = (part, cell)
                chosen.replaced[part.run_id, earlier[0].run_id] += 1
            else:
                chosen.repeated[earlier[0].run_id, part.run_id] += 1
    for name, of_machines in having.items():
        (first, its_cell), *others = of_machines.values()
        for other, cell in others:
            chosen.differences += _differences(first, its_cell, other, cell, "exact")
        for machine, (part, cell) in of_machines.items():
            own_name = name if len(of_machines) == 1 else f"{name}/machine={machine}"
            chosen.cells[part.run_id].append(replace(cell, name=own_name))
    return chosen


def _refuse_two_answers(first: Part, cell: CellRow, second: Part, again: CellRow) -> None:
    if bool(cell.skipped) != bool(again.skipped):
        raise StoreError(f"cell {cell.name} is skipped in one of {first.run_id} and {second.run_id} only")
    for difference in _differences(first, cell, second, again, "answers"):
        raise StoreError(f"two answers on one machine: {difference}")


def _differences(first: Part, cell: CellRow, second: Part, again: CellRow, which: str) -> Iterator[str]:
    """Yield the values of a cell that two runs tell differently: their `exact` ones, or all `answers`."""
    for kind in cell.stages.keys() & again.stages.keys():
        one = getattr(first, which).get(str(cell.stages[kind]), {})
        other = getattr(second, which).get(str(again.stages[kind]), {})
        for metric in one.keys() & other.keys():
            if one[metric] != other[metric]:
                yield (
                    f"cell {cell.name}: {' '.join(metric).strip()} is {one[metric]} in run {first.run_id} "
                    f"and {other[metric]} in run {second.run_id}"
                )
