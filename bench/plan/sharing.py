"""Which artifacts share a timing: those that were observed to have one structure, whatever was declared.

A plan has one timing for all artifacts of one declared structure. Once these are there, it is split into one
timing for each structure observed, taken from an artifact that is well. A cell whose artifact failed has a
record of its own that says so: it neither takes another's timing nor keeps others from theirs. All of this
follows from records, so that a resumed run comes to the same.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from bench.plan.planner import Plan
from bench.records import ANY_BATCH, STRUCTURE, Result
from bench.results.store import CellRow, StageRow
from bench.stages import STAGES
from bench.stages.settings import DRAFT_ROLE

_PASSED_OVER = ("failed", "diverged")
"""Ends of a timing that another artifact of the same structure may avoid."""


@dataclass(frozen=True)
class Changes:
    """Changes of a plan: changed and new stages, and cells whose stages changed."""

    stages: tuple[StageRow, ...]
    cells: tuple[CellRow, ...]


class Sharing:
    """A plan whose timings are split as their artifacts are observed."""

    def __init__(self, plan: Plan) -> None:
        self._digests: dict[tuple[str, str], str] = {}
        self._invalid: set[str] = set()
        self._grouped: set[str] = set()
        self._missing: dict[str, str | None] = {}
        self._keep(plan)

    def note(self, key: str, metric: str, qualifier: str, value: float | None, method: str) -> None:
        """Register a measurement of a stage."""
        if metric == STRUCTURE and method:
            self._digests[key, qualifier] = method
        elif metric == "valid" and value == 0 and qualifier != "kernels":  # those run for any weights
            self._invalid.add(key)

    def ready(self, stage: StageRow, ended: Mapping[str, Result]) -> bool:
        """Return whether every stage has ended that this one depends on, or that may share it."""
        if not shared_by(stage.kind):
            return all(parent in ended for parent in stage.parents)
        missing = self._missing.get(stage.key)
        if missing is not None and missing not in ended:
            return False  # a shortcut: this is called often, for thousands of artifacts
        missing = next((key for key in self._awaited(stage) if key not in ended), None)
        self._missing[stage.key] = missing
        return missing is None

    def split(self, ended: Mapping[str, Result], launched: Iterable[str]) -> Changes | None:
        """Split timings by what is known now; return None if nothing changes.

        `ended` maps keys of stages to results. `launched` has the keys of timings with a good launch: these
        stay as they are, unless the timed artifact is INVALID.
        """
        launched = set(launched)
        stages: dict[str, StageRow] = {}
        moved: dict[str, dict[str, str]] = defaultdict(dict)
        for stage in self._shared:
            groups = self._groups_now(stage, ended, stage.key in launched)
            if groups:
                rows, places = self._regrouped(stage, groups, ended)
                stages.update((row.key, row) for row in rows if row != self.plan.stages.get(row.key))
                for cell in self._cells[stage.key] if len(groups) > 1 else ():
                    key = places[str(cell.stages[shared_by(stage.kind)])]
                    if key != stage.key:
                        moved[cell.name][stage.kind] = key
        if not stages:
            return None
        cells = [
            replace(cell, stages={**cell.stages, **moved[cell.name]}) if cell.name in moved else cell
            for cell in self.plan.cells
        ]
        self._keep(replace(self.plan, stages={**self.plan.stages, **stages}, cells=tuple(cells)))
        return Changes(tuple(stages.values()), tuple(cell for cell in cells if cell.name in moved))

    def _groups_now(
        self, stage: StageRow, ended: Mapping[str, Result], launched: bool
    ) -> list[list[str]] | None:
        """Return the groups of a timing's artifacts; None if they have not changed."""
        failed = stage.key in ended and ended[stage.key].state in _PASSED_OVER and not launched
        passed_over = bool(stage.parents) and (failed or stage.key in self._invalid)
        known = launched or stage.key in ended or stage.key in self._grouped
        if (known and not passed_over) or not self.ready(stage, ended):
            return None
        self._grouped.add(stage.key)
        first, *others = self._artifacts(stage) or [""]
        if not passed_over:
            if not stage.parents:
                return self._groups_of_steps(stage)
            return self._groups(stage, ended) if first else None
        instead = failed or any(self._is_well(key, ended) for key in others)
        return [[first], others] if others and instead else None

    def _groups(self, stage: StageRow, ended: Mapping[str, Result]) -> list[list[str]]:
        """Group artifacts by structure, then by failure. One without a digest has a group of its own."""
        qualifier = ANY_BATCH if STAGES.get(stage.kind).any_batch else ""  # it has batches of its own
        well: dict[str, list[str]] = {}
        lost: dict[str, list[str]] = {}
        for key in self._artifacts(stage):
            if ended[key].state == "ok":
                well.setdefault(self._digests.get((key, qualifier), key), []).append(key)
            else:
                lost.setdefault(ended[key].reason if ended[key].state == "skipped" else key, []).append(key)
        return [*well.values(), *lost.values()]

    def _groups_of_steps(self, stage: StageRow) -> list[list[str]]:
        """Group trainings by structure; failed ones count too, since a step needs no artifact."""
        groups: dict[str, list[str]] = {}
        for key in self._artifacts(stage):
            known = self._digests.get((key, ""))
            groups.setdefault(known or next(iter(groups), ""), []).append(key)
        if "" in groups and len(groups) > 1:  # failed ones before the first that is known
            unknown = groups.pop("")
            first = next(iter(groups))
            groups[first] = unknown + groups[first]
        return list(groups.values())

    def _regrouped(
        self, stage: StageRow, groups: list[list[str]], ended: Mapping[str, Result]
    ) -> tuple[list[StageRow], dict[str, str]]:
        """Return a stage for each group, the first in place of `stage`, and its key for each artifact.

        A group that has the planned compression keeps the planned label: baselines identify stages by it, and
        in a baseline another training may have failed.
        """
        kind, cells = shared_by(stage.kind), self._cells[stage.key]
        recipes = {str(cell.stages[kind]): cell.axes.get("compression") for cell in reversed(cells)}
        recipe = recipes.get(self._artifacts(stage)[0])
        fitting = [n for n, group in enumerate(groups) if recipe in map(recipes.get, group)] or [0]
        planned = fitting[-1] if stage.key in ended or stage.key in self._invalid else fitting[0]
        rows: list[StageRow] = []
        places: dict[str, str] = {}
        for number, group in enumerate(groups):
            chosen = next((key for key in group if self._is_well(key, ended)), group[0])
            key = _derived(stage.key, group[0]) if number else stage.key
            label = stage.label if number == planned else self._own_label(stage, group[0])
            further = _further(stage)
            own = {role: further.get(role, chosen) for role in stage.request.parents}
            request = replace(stage.request, parents=own)
            if not request.parents and len(groups) > 1:
                known = next(key for key in group if (key, "") in self._digests)
                seed = self.plan.stages[known].request.settings["seed"]
                request = replace(request, settings={**request.settings, "seed": seed})
            parents = tuple(dict.fromkeys(request.parents.values()))
            rows.append(replace(stage, key=key, label=label, parents=parents, request=request))
            places.update(dict.fromkeys(group, key))
        return rows, places

    def _keep(self, plan: Plan) -> None:
        self.plan = plan
        self._shared = [stage for stage in plan.stages.values() if shared_by(stage.kind)]
        self._cells: dict[str, list[CellRow]] = defaultdict(list)
        self._evaluate: dict[str, str] = {}
        for cell in plan.cells:
            for kind in cell.stages:
                if shared_by(kind):
                    self._cells[str(cell.stages[kind])].append(cell)
            if {"lower", "evaluate"} <= cell.stages.keys():
                self._evaluate[str(cell.stages["lower"])] = str(cell.stages["evaluate"])

    def _artifacts(self, stage: StageRow) -> list[str]:
        """Return the keys of the artifacts that share a timing, first the one that is timed."""
        kind = shared_by(stage.kind)
        found = (str(cell.stages[kind]) for cell in self._cells[stage.key] if kind in cell.stages)
        further = _further(stage)
        timed = (key for role, key in stage.request.parents.items() if role not in further)
        return list(dict.fromkeys([*timed, *found]))

    def _awaited(self, stage: StageRow) -> Iterator[str]:
        yield from stage.parents
        if shared_by(stage.kind):
            for key in self._artifacts(stage):
                yield key
                if key in self._evaluate:
                    yield self._evaluate[key]

    def _is_well(self, artifact: str, ended: Mapping[str, Result]) -> bool:
        evaluate = self._evaluate.get(artifact)
        return evaluate is None or (ended[evaluate].state == "ok" and evaluate not in self._invalid)

    def _own_label(self, stage: StageRow, artifact: str) -> str:
        return f"{self.plan.stages[artifact].label} {STAGES.get(stage.kind).label}".rstrip()


def _further(stage: StageRow) -> dict[str, str]:
    """Return the parents of a timing that are none of the artifacts that share it."""
    return {role: key for role, key in stage.request.parents.items() if role.startswith(DRAFT_ROLE)}


def shared_by(kind: str) -> str:
    """Return the kind of artifact whose timing stages of this kind may share; empty if they do not."""
    row = STAGES.known(kind)
    return row.shares if row else ""


def shares(plan: Plan, kind: str) -> bool:
    """Return whether any stage of a kind is planned for several artifacts, so that it may be split."""
    pairs = {
        (str(cell.stages[kind]), str(cell.stages.get(shared_by(kind))))
        for cell in plan.cells
        if shared_by(kind) and kind in cell.stages
    }
    return len(pairs) > len({stage for stage, _ in pairs})


def _derived(key: str, artifact: str) -> str:
    return hashlib.sha256(f"{key} {artifact}".encode()).hexdigest()
