"""Turns cells into a plan: a directed graph of stages; cells share the stages that they have in common."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench import datasets
from bench.identity.reuse import Reuse
from bench.matrix.cells import Cell, Matrix
from bench.matrix.file import Budget, Evaluate, Generation, Server
from bench.plan.keys import Keys, device_kind
from bench.plan.lookup import CellTechniques, Lookup
from bench.plan.names import cell_name, varying_axes
from bench.plan.reasons import DATA, Reason, Reasons
from bench.records import PlannedRequest, as_json
from bench.results.store import CellRow, StageRow
from bench.stages import STAGES, StageKind
from techniques.backends import BackendRow

MadeT = TypeVar("MadeT")

_COMPILER = "torch._dynamo"
"""What constructing a PyTorch optimizer imports."""


@dataclass(frozen=True)
class Plan:
    """The stages of a matrix, parents first, and its cells; a skipped cell has a reason.

    `again` maps the key of a stage that was made before to the reason why it is made again. `reasons` has
    more on the reason of each skipped cell, by the cell's name: cells that lack different packages may have
    one text. `missing` are the commands that install what is missing, and how many cells each would add:
    skipped ones, and those that `auto` leaves out.
    """

    stages: Mapping[str, StageRow]
    cells: tuple[CellRow, ...]
    again: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> tuple[CellRow, ...]:
        return tuple(cell for cell in self.cells if cell.skipped)

    def of_kind(self, kind: str) -> list[StageRow]:
        """Return the stages of one kind, in the order of the matrix."""
        return [stage for stage in self.stages.values() if stage.kind == kind]


def make_plan(
    matrix: Matrix,
    cpus: int,
    *,
    smoke: bool = False,
    problems: Mapping[str, str] | None = None,
    reuse: Reuse | None = None,
    varying: tuple[str, ...] | None = None,
    devices: Mapping[str, str] | None = None,
) -> Plan:
    """Plan a matrix. `problems` maps a workload to the reason why its data is unavailable.

    `reuse` finds the artifacts of earlier runs that are still valid; without it, none is reused. `varying`
    are the axes that names of cells may show, those of all cells if the matrix is a shard's. `devices` are
    the kinds of another machine's devices, as `device_kind` has them, where stages run there.
    """
    varying = varying_axes(matrix.cells) if varying is None else varying
    planner = Planner(
        matrix.budget,
        matrix.server,
        cpus,
        smoke,
        varying,
        dict(problems or {}),
        reuse,
        devices or {},
        matrix.serves,
        matrix.targets,
        matrix.evaluations_per_epoch,
        matrix.evaluate,
        matrix.generation,
    )
    cells = tuple(map(planner.add_cell, matrix.cells))
    kinds = STAGES.rows()
    stages = sorted(planner.stages.values(), key=lambda stage: kinds[stage.kind].phase)
    again = {key: why for key, why in (reuse.again if reuse else {}).items() if key in planner.stages}
    missing = planner.missing(matrix.further)
    return Plan({stage.key: stage for stage in stages}, cells, again, planner.reasons, missing)


@dataclass
class Planner:
    """Plans one cell after the other; the `plan` of a stage kind's row decides what it needs."""

    budget: Budget
    server: Server | None
    cpus: int
    smoke: bool
    varying: tuple[str, ...]
    problems: Mapping[str, str]
    reuse: Reuse | None
    devices: Mapping[str, str]
    serves: bool = True
    targets: Mapping[str, float] = field(default_factory=dict)
    evaluations_per_epoch: Mapping[str, int] = field(default_factory=dict)
    evaluate: Evaluate = field(default_factory=Evaluate)
    generation: Generation | None = None
    stages: dict[str, StageRow] = field(default_factory=dict)
    lookup: Lookup = field(default_factory=Lookup)
    reasons: dict[str, Reason] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = STAGES.rows()
        # What is found of a device belongs to training too.
        wanted = {name for name, row in kinds.items() if self.serves or row.works == "trains" or row.daily}
        self._plans = {name: plan for name, plan in STAGES.plans().items() if name in wanted}
        self._keys = Keys()
        self._reasons = Reasons(self.cpus)
        self._made: dict[tuple[object, ...], Any] = {}

    def once(self, what: tuple[object, ...], make: Callable[[], MadeT]) -> MadeT:
        """Return what `make` returned when it was first asked for `what`: many cells have parts in common."""
        if what not in self._made:
            self._made[what] = make()
        made: MadeT = self._made[what]
        return made

    def add_cell(self, cell: Cell) -> CellRow:
        """Plan a cell's stages, or say why it cannot run."""
        chosen = CellTechniques.of(cell, self.lookup)
        reason = self._reason(chosen)
        name = cell_name(cell, self.varying)
        if reason is not None:
            self.reasons[name] = reason
            return CellRow(name, cell.axes(), {}, reason.text)
        keys: dict[str, str] = {}
        for kind, plan in self._plans.items():
            key = plan(self, chosen, keys)
            if key is not None:
                keys[kind] = key
        return CellRow(name, cell.axes(), keys)

    def _reason(self, chosen: CellTechniques) -> Reason | None:
        problem = self.problems.get(chosen.cell.workload)
        return Reason(problem, DATA, chosen.cell.workload) if problem else self._reasons.reason(chosen)

    def missing(self, further: Iterable[Cell]) -> dict[str, int]:
        """Return the commands that install what is missing, most cells first, and how many each would add."""
        others = (self._reason(CellTechniques.of(cell, self.lookup)) for cell in further)
        found = Counter(reason.commands for reason in (*self.reasons.values(), *others) if reason)
        return {" && ".join(commands): count for commands, count in found.most_common() if commands}

    def add(
        self,
        kind: str,
        chosen: CellTechniques,
        settings: object,
        parents: Mapping[str, str],
        label: str,
        *references: str,
        own_parents: bool = True,
    ) -> str:
        """Plan a stage of a cell and return its key; an existing stage stays as it is.

        `settings` is an object of the kind's class. `parents` map roles to keys; they are not part of the
        key if `own_parents` is false, so that stages of one structure share it. `references` name what does
        the work, in addition to the workload, its data and the backend.
        """
        work = self.once(
            ("work", kind, chosen.workload.name, chosen.train_backend.name, chosen.backend.name, references),
            lambda: self._work(STAGES.get(kind), chosen, references),
        )
        return self._enter(work, settings, parents if own_parents else {}, parents, label)

    def add_of_device(self, kind: str, backend: BackendRow, settings: object, label: str) -> str:
        """Plan a stage of a backend's device, outside all cells, and return its key."""
        row = STAGES.get(kind)
        device = self._device(backend)
        work = _Work(row, backend, device, (row.run,), (), _server_imports(row, backend, []), ())
        return self._enter(work, settings, {}, {}, label)

    def _device(self, backend: BackendRow) -> str:
        return self.devices.get(backend.device) or device_kind(backend.device, self.cpus)

    def _work(self, row: StageKind, chosen: CellTechniques, references: tuple[str, ...]) -> _Work:
        backend = chosen.train_backend.row if row.works == "trains" else chosen.backend.row
        workload = chosen.workload.row
        loads = [datasets.get(name).load for name in workload.datasets]
        implementations = [workload.implementation, *loads, backend.implementation, *references]
        return _Work(
            row,
            backend,
            self._device(backend),
            (row.run, *implementations),
            (*_runtime_imports(row, backend), *backend.worker_imports),
            (
                *_server_imports(row, backend, implementations),
                *workload.slow_imports,
            ),
            tuple(backend.worker_imports),
        )

    def _enter(
        self,
        work: _Work,
        settings: object,
        identifying: Mapping[str, str],
        parents: Mapping[str, str],
        label: str,
    ) -> str:
        row = work.row
        # The settings themselves are kept too, so that no other object gets their identity.
        content, text, _ = self.once(("settings", id(settings)), lambda: _as_text(settings))
        key = self._keys.make(row.name, text, identifying, work.references, work.device, work.libraries)
        if self.reuse is not None and row.leaves_artifact:
            key = self.reuse.key(key, content)
        if key not in self.stages:
            backend = work.backend
            request = PlannedRequest(
                content, parents, backend.device, backend.fork_safe, work.server_imports, work.worker_imports
            )
            parent_keys = tuple(dict.fromkeys(parents.values()))
            self.stages[key] = StageRow(key, row.name, label, bool(row.timed_by), parent_keys, request)
        return key


@dataclass(frozen=True)
class _Work:
    """What does a stage's work. `references` and `libraries` are part of its key."""

    row: StageKind
    backend: BackendRow
    device: str
    references: tuple[str, ...]
    libraries: tuple[str, ...]
    server_imports: tuple[str, ...]
    worker_imports: tuple[str, ...]


def _as_text(settings: object) -> tuple[Mapping[str, Any], str, object]:
    content = as_json(settings, whole=True)
    return content, json.dumps(content, sort_keys=True), settings


def runs_alone(stage: StageRow) -> bool:
    """Return whether a stage has all cores to itself while it runs.

    The others run in parallel, one core each: a small net's step is far from twice as fast on two cores.
    """
    row = STAGES.known(stage.kind)
    return stage.timed or row is None or row.alone or stage.request.device != "cpu"


def _runtime_imports(row: StageKind, backend: BackendRow) -> Iterable[str]:
    if row.works == "lowers":
        return backend.lowering_imports
    return backend.running_imports if row.works == "runs" else ()


def _server_imports(row: StageKind, backend: BackendRow, implementations: list[str]) -> tuple[str, ...]:
    modules = (reference.rpartition(":")[0] for reference in [row.run, *implementations])
    ours = [
        name
        for name in modules
        if name.partition(".")[0] in ("bench", "techniques") and not name.endswith(".py")
    ]
    training = (_COMPILER,) if row.works == "trains" else ()
    runtime = _runtime_imports(row, backend) if implementations else ()
    return tuple(dict.fromkeys([*ours, *training, *runtime]))
