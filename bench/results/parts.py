"""The runs that are merged: where each lies, what it found, and which of them one machine measured alike."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.analysis.comparable import DECIDES, fingerprint, machine_names
from bench.errors import StoreError
from bench.metrics import METRICS, metric_named
from bench.results.folder import FOLDER_ID, is_in_use
from bench.results.store import CellRow, Launch, StageRow, Store

UNKNOWN = "an unknown machine"
_MAX_LIBRARIES = 3

Answers = Mapping[tuple[str, str], float | None]


@dataclass(frozen=True)
class Part:
    """A run that is merged: its store, its results folder, its id.

    It may stand for a later run of the same command, `instead_of`, which has not ended.
    """

    store: Store
    results: Path
    run_id: str
    instead_of: str = ""

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

    @property
    def has_ended(self) -> bool:
        return bool(self.run["state"] == "finished")

    @property
    def is_in_progress(self) -> bool:
        """Whether a runner works on it now; on a server, none can begin to until the store is closed."""
        if self.store.url:
            return not self.store.try_hold(self.run_id)
        return is_in_use(self.results)

    @cached_property
    def stages(self) -> Mapping[str, StageRow]:
        return {stage.key: stage for stage in self.store.stages(self.run_id)}

    @cached_property
    def cells(self) -> Sequence[CellRow]:
        return self.store.cells(self.run_id)

    @cached_property
    def environments(self) -> Sequence[Mapping[str, Any]]:
        return list(self.store.environments(self.run_id).values())

    @cached_property
    def kind(self) -> str:
        """The kind of machine that the run was measured on; several are joined."""
        names = set(machine_names({str(n): found for n, found in enumerate(self.environments)}).values())
        return " | ".join(sorted(names)) or UNKNOWN

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """The environment that decides what the run is comparable with, empty where none is known."""
        return next((found for found in self.environments if "cpu" in found), {})

    @cached_property
    def launches(self) -> Sequence[Launch]:
        return self.store.launch_records(self.run_id)

    @cached_property
    def without_result(self) -> int:
        """How many stages have no launch."""
        return len(self.stages.keys() - {launch.stage_key for launch in self.launches})

    @cached_property
    def good(self) -> frozenset[str]:
        """The keys of the stages that have a good launch."""
        return frozenset(launch.stage_key for launch in self.launches if launch.result.state == "ok")

    def answered(self, cell: CellRow) -> bool:
        """Say whether every stage of a cell is ok."""
        return all(str(key) in self.good for key in cell.stages.values())

    @cached_property
    def answers(self) -> Mapping[str, Answers]:
        """The exact and seeded values of each stage, by metric and qualifier."""
        return self._answers("exact", "seeded")

    @cached_property
    def exact(self) -> Mapping[str, Answers]:
        """The values of each stage that are the same on every machine, by metric and qualifier."""
        return self._answers("exact")

    def _answers(self, *kinds: str) -> Mapping[str, Answers]:
        found: dict[str, dict[tuple[str, str], float | None]] = defaultdict(dict)
        for launch in self.launches:
            for entry in launch.result.measurements if launch.result.state == "ok" else ():
                if metric_named(entry.metric).kind in kinds:
                    found[launch.stage_key][entry.metric, entry.qualifier] = entry.value
        return found

    def with_parents(self, keys: Iterable[str]) -> set[str]:
        """Return the keys of stages and of everything that they build on."""
        needed = set(keys)
        waiting = list(needed)
        while waiting:
            parents = set(self.stages[waiting.pop()].parents) - needed
            needed |= parents
            waiting += parents
        return needed

    def __str__(self) -> str:
        return f"{self.results}: run {self.run_id}"


def find_part(place: Path, url: str = "", into: Path | None = None, *, partial: bool = False) -> Part:
    """Return the latest run of a results folder, or the run whose own folder is given.

    Where a folder's latest run has not ended, an earlier one of the same command that has is returned; with
    `partial`, a run is returned with what it has, unless a runner works on it.

    With the `url` of a shared store, a folder's runs are looked for there first, and a place that does not
    exist is the id of a run there; its artifacts, if any are here, lie in `into`. Raises StoreError where
    there is no such run, or where it has not ended.
    """
    runs = _shared(place, url, into or place) if url else []
    part = _ended(runs or _in_file(place), partial)
    METRICS.learn(part.request.get("metrics", ()))
    return part


def shards_beside(part: Part, numbers: Collection[int]) -> list[Path]:
    """Return the finished runs in a part's own results folder that are these shards of its split."""
    if part.shard is None:
        return []
    runs = part.store.runs()
    own = runs[(runs["folder"] == part.store.folder) & (runs["state"] == "finished")]
    wanted = [{**part.shard, "number": number} for number in numbers]
    pairs = zip(own["id"], own["request"], strict=True)
    return [part.results / id_ for id_, request in pairs if request.get("shard") in wanted]


def _in_file(place: Path) -> list[Part]:
    """Return the run that a place names in a store of its own, or all of a folder's, oldest first."""
    results, run = (place, None) if Store.find(place) else (place.parent, place.name)
    store = Store.open(results, create=False)
    named = store.find_run(run)
    return [Part(store, results, id_) for id_ in ([named] if run else store.runs()["id"].tolist())]


def _shared(place: Path, url: str, into: Path) -> list[Part]:
    """Return the run that a place names in a shared store, or all of a folder's, oldest first.

    There are none where the place is a folder without one.
    """
    if not place.exists():
        store = Store.open(into, url, create=False)
        return [Part(store, into, store.find_run(str(place)))]
    for results, run in ((place, None), (place.parent, place.name)):
        if not (results / FOLDER_ID).is_file():
            continue
        store = Store.open(results, url, create=False)
        runs = store.runs()
        own = runs.loc[runs["folder"] == store.folder, "id"].tolist()
        if found := [id_ for id_ in own if run in (None, id_)]:
            return [Part(store, results, id_) for id_ in found]
    return []


def _ended(runs: Sequence[Part], partial: bool) -> Part:
    """Return the latest run, or what stands for one that has not ended; raises StoreError where none does."""
    *earlier, latest = runs
    if latest.has_ended:
        return latest
    ended = [part for part in reversed(earlier) if part.has_ended]
    for part in ended:
        if part.run["identity"] == latest.run["identity"]:
            return replace(part, instead_of=latest.run_id)
    if latest.is_in_progress:
        raise StoreError(f"{latest} is in progress; wait until it ends, or stop it")
    if not partial:
        also = f", or give an earlier run, as {ended[0].results / ended[0].run_id}" if ended else ""
        raise StoreError(
            f"{latest} has not ended; resume it by `{latest.run['command']}`, or take what it has by "
            f"--partial{also}"
        )
    return latest


def machines_of(parts: Sequence[Part]) -> dict[str, str]:
    """Return the machine of each part, by its run's id: parts with another name are never compared.

    Machines of one kind are one where nothing tells them apart that decides a timing. Where they differ, as
    in the version of a library, or where several of them have the same cell, each has a name of its own.
    """
    kinds: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        kinds[part.kind].append(part)
    names = {part.run_id: name for alike in kinds.values() for part, name in _by_environment(alike)}
    groups: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        groups[names[part.run_id]].append(part)
    for name, alike in groups.items():
        hosts = list(dict.fromkeys(str(part.run["host"]) for part in alike))
        if len(hosts) > 1 and _have_a_cell_in_common(alike):
            for part in alike:
                names[part.run_id] = f"{name}, host {hosts.index(str(part.run['host'])) + 1}"
    return names


def _by_environment(alike: Sequence[Part]) -> Iterator[tuple[Part, str]]:
    found = {fingerprint(part.environment): part.environment for part in alike}
    for part in alike:
        others = [other for other in found.values() if other is not found[fingerprint(part.environment)]]
        telling = _telling(part.environment, others)
        yield part, f"{part.kind} ({telling})" if telling else part.kind


def _telling(environment: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """Say what tells an environment from others, as `torch 2.13.0`; empty where nothing does."""
    parts: list[str] = []
    for key in DECIDES:
        value = environment.get(key)
        if all(other.get(key) == value for other in others):
            continue
        if key == "libraries" and isinstance(value, Mapping):
            parts += _libraries(value, [other.get(key) or {} for other in others])
        elif isinstance(value, Mapping | list):
            parts.append(f"{key} {_short(value)}")
        else:
            parts.append(f"{key} {'unknown' if value is None else value}")
    return ", ".join(parts)


def _libraries(own: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    names = sorted({*own, *(name for other in others for name in other)})
    differ = [name for name in names if any(other.get(name) != own.get(name) for other in others)]
    named = [f"{name} {own.get(name) or 'absent'}" for name in differ]
    # The rest may be what differs from a third environment.
    return named if len(named) <= _MAX_LIBRARIES else [*named[:_MAX_LIBRARIES], f"libraries {_short(own)}"]


def _short(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:6]


def _have_a_cell_in_common(parts: Sequence[Part]) -> bool:
    cells = {(part.run["host"], cell.name) for part in parts for cell in part.cells if not cell.skipped}
    return len({name for _, name in cells}) < len(cells)
