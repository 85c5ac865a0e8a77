"""Makes one run of several: shards of a matrix, or runs of one matrix on several machines.

Stages that several runs have are kept apart, each with its own launches, so that no timing is ever a mean
over machines. A cell that several machines have is there once for each of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.analysis.comparable import machine_name
from bench.errors import StoreError
from bench.formatting import counted
from bench.metrics import METRICS, metric_named
from bench.results.artifacts import RECORD, artifact_folder, read_record
from bench.results.folder import alone_in, run_name
from bench.results.store import CellRow, Launch, StageRow, Store

Say = Callable[[str], None]

_SAME = ("text", "filter", "smoke", "budget", "estimate", "prices", "peaks")
"""What the requests of merged runs must have in common."""

_ANSWERS = ("exact", "seeded")
"""Kinds of metrics that one machine must not answer in two ways."""


@dataclass(frozen=True)
class Part:
    """A run that is merged: its store, its results folder, its id."""

    store: Store
    results: Path
    run_id: str

    @cached_property
    def run(self) -> Mapping[str, Any]:
        return self.store.run(self.run_id)

    @property
    def request(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.run["request"]
        return found

    @property
    def shard(self) -> Mapping[str, Any] | None:
        """The shard's `number`, `of` and `split`, None of a whole run."""
        return self.request.get("shard")

    @cached_property
    def stages(self) -> Mapping[str, StageRow]:
        return {stage.key: stage for stage in self.store.stages(self.run_id)}

    @cached_property
    def cells(self) -> Sequence[CellRow]:
        return self.store.cells(self.run_id)

    @cached_property
    def machine(self) -> str:
        """What the run was measured on; several kinds of nodes are joined."""
        names = {machine_name(content) for content in self.store.environments(self.run_id).values()}
        return " | ".join(sorted(names)) or "an unknown machine"

    @cached_property
    def launches(self) -> Sequence[Launch]:
        return self.store.launch_records(self.run_id)

    @cached_property
    def answers(self) -> Mapping[str, Mapping[tuple[str, str], float | None]]:
        """The exact and seeded values of each stage, by metric and qualifier."""
        found: dict[str, dict[tuple[str, str], float | None]] = defaultdict(dict)
        for launch in self.launches:
            for entry in launch.result.measurements if launch.result.state == "ok" else ():
                if metric_named(entry.metric).kind in _ANSWERS:
                    found[launch.stage_key][entry.metric, entry.qualifier] = entry.value
        return found

    def __str__(self) -> str:
        return f"{self.results}: run {self.run_id}"


def find_part(place: Path) -> Part:
    """Return the latest run of a results folder, or the run whose own folder is given.

    Raises StoreError where there is none, or where it has not ended.
    """
    results, run = (place, None) if Store.find(place) else (place.parent, place.name)
    store = Store.open(results, create=False)
    part = Part(store, results, store.find_run(run))
    if part.run["state"] != "finished":
        raise StoreError(f"{part} has not ended; resume it first: {part.run['command']}")
    METRICS.learn(part.request.get("metrics", ()))
    return part


def merge(parts: Sequence[Part], into: Path, say: Say) -> str:
    """Enter all parts as one run in the store of `into`, copy their artifacts, and return the run's id.

    Raises StoreError where the parts are not of one matrix and split, or where a cell has two answers.
    """
    _check_matrices(parts)
    notes = [*_check_shards(parts), *_notes_of_machines(parts)]
    chosen = _chosen_cells(parts)
    first = parts[0]
    with alone_in(into.resolve()):
        store = Store.open(into)
        keys = _Keys()
        planned = [_renamed(part, chosen[part.run_id], keys) for part in parts]
        request = {key: value for key, value in first.request.items() if key not in ("prediction", "shard")}
        request["notes"] = [*notes, *first.request.get("notes", ())]
        request["merged"] = [
            {"run": part.run_id, "shard": part.shard, "machine": part.machine} for part in parts
        ]
        run_id = store.start_run(
            f"{first.run_id[:15]}-{run_name(first.run['matrix'])}-merged",
            hashlib.sha256("".join(sorted(part.run["identity"] for part in parts)).encode()).hexdigest(),
            first.run["matrix"],
            first.run["command"],
            request,
            [stage for stages, _ in planned for stage in stages],
            [cell for _, cells in planned for cell in cells],
        )
        for part, (stages, _) in zip(parts, planned, strict=True):
            new = {keys.of(part, key): key for key in part.stages}
            kept = {new[stage.key]: stage for stage in stages}
            store.add_launches(run_id, part.launches, kept)
            copied = [stage for key, stage in kept.items() if _copy(part.results, key, into, stage.key)]
            for stage in copied:
                record = read_record(into, stage.key)
                if record is not None:
                    store.add_artifact(stage.key, stage.kind, record.artifact)
            for what, seconds in part.store.overheads(part.run_id).items():
                store.add_overhead(run_id, what, seconds)
            say(f"{part}: {counted(len(kept), 'stage')}, {counted(len(copied), 'artifact')}")
        store.finish_run(run_id)
    return run_id


class _Keys:
    """The keys of stages in the merged run: a part's own, or one of this part alone if it was taken."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def of(self, part: Part, key: str) -> str:
        owner = self._owners.setdefault(key, part.run_id)
        return key if owner == part.run_id else hashlib.sha256(f"{key} {part.run_id}".encode()).hexdigest()


def _renamed(part: Part, cells: Sequence[CellRow], keys: _Keys) -> tuple[list[StageRow], list[CellRow]]:
    """Return the stages that cells of a part need, and the cells, with their keys in the merged run."""
    needed = {str(key) for cell in cells if not cell.skipped for key in cell.stages.values()}
    in_cells = {str(key) for cell in part.cells for key in cell.stages.values()}
    of_dropped = in_cells - needed
    waiting = list(needed)
    while waiting:
        parents = set(part.stages[waiting.pop()].parents) - needed
        needed |= parents
        waiting += parents
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


def _check_matrices(parts: Sequence[Part]) -> None:
    first, *others = parts
    for part in others:
        if part.run["matrix"] != first.run["matrix"]:
            raise StoreError(
                f"{part} is of the matrix {part.run['matrix']}, but {first} of {first.run['matrix']}"
            )
        for name in _SAME:
            if part.request.get(name) != first.request.get(name):
                what = "matrix file" if name == "text" else name
                raise StoreError(f"{part} and {first} differ in their {what}; merge runs of one command")
    if len({part.run_id for part in parts}) < len(parts):
        raise StoreError(f"run {first.run_id} is given twice; give each run once")


def _check_shards(parts: Sequence[Part]) -> Iterator[str]:
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
        if other["number"] in numbers and part.machine == numbers[other["number"]].machine:
            raise StoreError(f"shard {other['number']} is given twice: {numbers[other['number']]}, {part}")
        numbers[other["number"]] = part
    missing = [number for number in range(1, shard["of"] + 1) if number not in numbers]
    if missing:
        yield f"shards {', '.join(map(str, missing))} of {shard['of']} are missing, with all their cells"


def _notes_of_machines(parts: Sequence[Part]) -> Iterator[str]:
    machines: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        machines[part.machine].append(part.run_id)
    if len(machines) > 1:
        for machine, runs in machines.items():
            yield f"measured on {machine}: {', '.join(runs)}"


def _chosen_cells(parts: Sequence[Part]) -> dict[str, list[CellRow]]:
    """Return the cells of each part by its run's id: one that a machine has twice is the first's.

    A cell that several machines have is named with its machine.
    """
    having: dict[str, dict[str, tuple[Part, CellRow]]] = defaultdict(dict)
    chosen: dict[str, list[CellRow]] = {part.run_id: [] for part in parts}
    for part in parts:
        for cell in part.cells:
            earlier = having[cell.name].get(part.machine)
            if earlier is not None:
                _refuse_two_answers(*earlier, part, cell)
            else:
                having[cell.name][part.machine] = (part, cell)
    for name, machines in having.items():
        for machine, (part, cell) in machines.items():
            own = name if len(machines) == 1 else f"{name}/machine={machine}"
            chosen[part.run_id].append(replace(cell, name=own))
    return chosen


def _refuse_two_answers(first: Part, cell: CellRow, second: Part, again: CellRow) -> None:
    if bool(cell.skipped) != bool(again.skipped):
        raise StoreError(f"cell {cell.name} is skipped in one of {first.run_id} and {second.run_id} only")
    for kind in cell.stages.keys() & again.stages.keys():
        one = first.answers.get(str(cell.stages[kind]), {})
        other = second.answers.get(str(again.stages[kind]), {})
        for metric in one.keys() & other.keys():
            if one[metric] != other[metric]:
                raise StoreError(
                    f"cell {cell.name} has two answers on one machine: {' '.join(metric).strip()} is "
                    f"{one[metric]} in run {first.run_id} and {other[metric]} in run {second.run_id}"
                )


def _copy(source: Path, key: str, into: Path, new_key: str) -> bool:
    """Copy an artifact, by links where the file system allows it; returns whether there was one."""
    old, new = artifact_folder(source, key), artifact_folder(into, new_key)
    if not (old / RECORD).is_file():
        return False
    if not new.is_dir():
        beside = new.with_name(f".{new.name}.merging")
        with suppress(FileNotFoundError):
            shutil.rmtree(beside)
        beside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(old, beside, copy_function=_link)
        beside.rename(new)
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
