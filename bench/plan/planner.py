"""From cells to a plan: a directed graph of stages, each there once however many cells share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench import datasets
from bench.analysis.roofline import CEILING_DEVICES
from bench.digests import Sources
from bench.identity.reuse import Reuse
from bench.matrix.cells import Cell, Matrix
from bench.matrix.file import Budget, Server
from bench.metrics import PRIMARY
from bench.plan.keys import device_kind, make_key
from bench.plan.names import cell_name, varying_axes
from bench.plan.points import Lookup, Point, why_not
from bench.results.artifacts import LEAVES_ARTIFACT
from bench.results.store import CellRow, StageRow
from techniques.backends import BackendRow
from techniques.registry import Technique

SMOKE_STEPS = 2
SMOKE_TEST_SAMPLES = 64

KINDS = (
    *("train", "teach", "compress", "lower", "evaluate"),
    *("ceilings", "serve", "generate", "step", "infer"),
)
"""Kinds of stages in the order they run; the last two are timed, in launches."""

_ORDER = {kind: KINDS.index(kind) for kind in KINDS} | {"teach": KINDS.index("compress")}

EXCLUSIVE = ("train", "ceilings", "serve", "generate")
"""Kinds that have all cores to themselves: their clock is a result. All others run side by side, one core
each: a small net's step is far from twice as fast on two."""

_TRAINS = ("train", "teach", "step", "compress")
"""Kinds that make an optimizer of PyTorch, which imports its compiler."""

_RUN_LOWERED = ("evaluate", "serve", "generate", "infer")

GENERATING_BACKENDS = ("cpu-eager", "cuda-eager")
"""Backends that run the model's own code, which keeps the key-value cache that generation goes by."""

CEILING_S, SMOKE_CEILING_S = 0.1, 0.002
"""Seconds for which each ceiling is measured."""


@dataclass(frozen=True)
class Plan:
    """What a matrix comes to: its stages, parents first, and its cells, those left out with their reason.

    `again` says of a stage that was made before, by its key, why it is made again.
    """

    stages: Mapping[str, StageRow]
    cells: tuple[CellRow, ...]
    again: Mapping[str, str] = field(default_factory=dict)

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
) -> Plan:
    """Plan a matrix. `problems` says of a workload why its data is not to be had.

    `reuse` finds which artifacts of earlier runs are still what would be made; without it none is looked for.
    """
    varying = varying_axes(matrix.cells)
    planner = _Planner(matrix.budget, matrix.server, cpus, smoke, varying, dict(problems or {}), reuse)
    cells = tuple(planner.add(cell) for cell in matrix.cells)
    stages = sorted(planner.stages.values(), key=lambda stage: _ORDER[stage.kind])
    again = {key: why for key, why in (reuse.again if reuse else {}).items() if key in planner.stages}
    return Plan({stage.key: stage for stage in stages}, cells, again)


@dataclass
class _Planner:
    budget: Budget
    server: Server | None
    cpus: int
    smoke: bool
    varying: frozenset[str]
    problems: Mapping[str, str]
    reuse: Reuse | None
    stages: dict[str, StageRow] = field(default_factory=dict)
    lookup: Lookup = field(default_factory=Lookup)
    sources: Sources = field(default_factory=Sources)

    def add(self, cell: Cell) -> CellRow:
        """Plan a cell's stages, or say why it cannot run."""
        point = Point.of(cell, self.lookup)
        reason = self.problems.get(cell.workload) or why_not(point, self.lookup)
        name = cell_name(cell, self.varying)
        if reason:
            return CellRow(name, cell.axes(), {}, reason)
        return CellRow(name, cell.axes(), self._stages_of(point))

    def _stages_of(self, point: Point) -> dict[str, str]:
        keys = {"train": self._train(point)}
        if not point.workload.row.inference_only:
            keys["step"] = self._step(point)
        model = keys["train"]
        for step in point.recipe.steps:
            model = keys["compress"] = self._compress(point, step, model)
        keys["lower"] = self._lower(point, model)
        keys["evaluate"] = self._evaluate(point, keys["lower"], model, keys["train"])
        keys["infer"] = self._infer(point, keys["lower"])
        if self.server is not None:
            keys["serve"] = self._serve(point, keys["lower"], self.server)
        if self._generates(point):
            keys["generate"] = self._generate(point, keys["lower"])
        for backend in (point.train_backend, point.backend):
            self._ceilings(backend.row)
        return keys

    def _train(self, point: Point) -> str:
        row, cell = point.workload.row, point.cell
        settings = {
            **self._training(point),
            "seed": cell.seed,
            "steps": SMOKE_STEPS if self.smoke else self.budget.train_steps or row.train_steps,
            "target": row.target,
            "evaluations_per_epoch": row.evaluations_per_epoch,
        }
        return self._add("train", point, settings, {}, point.training_label)

    def _step(self, point: Point) -> str:
        settings = {**self._training(point), **self._sampling()}
        return self._add("step", point, settings, {}, f"{point.training_label} step")

    def _compress(self, point: Point, step: Technique[Any], model: str) -> str:
        row, budget = point.workload.row, self.budget
        settings = {
            **self._training(point),
            "seed": point.cell.seed,
            "technique": step.text,
            "technique_settings": dict(step.settings),
            "recover_steps": SMOKE_STEPS if self.smoke else budget.recover_steps or row.recover_steps,
            "student_steps": SMOKE_STEPS if self.smoke else budget.student_steps or row.student_steps,
        }
        label = f"{self.stages[model].label} + {step.text}"
        parents = {"model": model}
        if step.row.taught:
            parents["teacher"] = self._teach(point, model)
        return self._add("compress", point, settings, parents, label, step.row.implementation)

    def _teach(self, point: Point, model: str) -> str:
        """Plan a teacher's outputs on the training set: once, for all students that it has."""
        label = f"{self.stages[model].label} as a teacher"
        return self._add("teach", point, self._common(point), {"model": model}, label)

    def _lower(self, point: Point, model: str) -> str:
        settings = self._lowered(point)
        return self._add("lower", point, settings, {"model": model}, self._lowered_label(point, model))

    def _evaluate(self, point: Point, lowered: str, model: str, reference: str) -> str:
        parents = {"lowered": lowered, "model": model, "reference": reference}
        label = self._lowered_label(point, model)
        return self._add("evaluate", point, self._lowered(point), parents, label)

    def _infer(self, point: Point, lowered: str) -> str:
        """Plan one timing for all artifacts of one structure: dense kernels take as long for any weights."""
        settings = {**self._lowered(point), "structure": point.structure, **self._sampling()}
        label = self._structure_label(point)
        return self._add("infer", point, settings, {"lowered": lowered}, label, own_parents=False)

    def _serve(self, point: Point, lowered: str, server: Server) -> str:
        """Plan the server scenario of a structure, once, as its timing."""
        settings = {
            **self._lowered(point),
            "structure": point.structure,
            "p99_s": server.p99_ms / 1e3,
            "seconds": 0.2 if self.smoke else server.seconds,
        }
        label = f"{self._structure_label(point)} server"
        return self._add("serve", point, settings, {"lowered": lowered}, label, own_parents=False)

    def _generates(self, point: Point) -> bool:
        row, format_ = point.workload.row, point.format
        return row.generates and format_ is None and point.backend.name in GENERATING_BACKENDS

    def _generate(self, point: Point, lowered: str) -> str:
        """Plan the generation of a structure, once: it has batches of its own."""
        settings = {**self._lowered(point), "structure": point.structure}
        del settings["batch_size"]
        cell = point.cell
        label = f"{cell.workload} {point.structure or 'dense'} generation @ {cell.backend} {cell.precision}"
        return self._add("generate", point, settings, {"lowered": lowered}, label, own_parents=False)

    def _ceilings(self, backend: BackendRow) -> None:
        """Plan what a device can do at most, once: no cell's own, all cells' records are held against it."""
        if backend.device not in CEILING_DEVICES:
            return
        settings = {"seconds": SMOKE_CEILING_S if self.smoke else CEILING_S}
        key = make_key("ceilings", settings, {}, (), device_kind(backend.device, self.cpus), (), self.sources)
        request = {
            "settings": settings,
            "parents": {},
            "device": backend.device,
            "fork_safe": backend.fork_safe,
            "server_imports": ["bench.stages.ceilings"],
            "worker_imports": [],
        }
        label = f"ceilings of {backend.device}"
        self.stages.setdefault(key, StageRow(key, "ceilings", label, False, (), request))

    def _training(self, point: Point) -> dict[str, Any]:
        cell = point.cell
        return {
            **self._common(point),
            "optimizer": cell.optimizer,
            "optimizer_settings": dict(point.optimizer.settings),
            "backend": cell.train_backend,
            "precision": cell.train_precision,
            "batch_size": cell.train_batch_size,
        }

    def _lowered(self, point: Point) -> dict[str, Any]:
        cell = point.cell
        return {
            **self._common(point),
            "format": point.format,
            "backend": cell.backend,
            "precision": cell.precision,
            "batch_size": cell.batch_size,
        }

    def _sampling(self) -> dict[str, Any]:
        flushing = {"flush_cache": True} if self.budget.flush_cache else {}
        return {"sample_s": self.budget.sample_s, **flushing}

    def _common(self, point: Point) -> dict[str, Any]:
        return {
            "workload": point.cell.workload,
            "quality_metric": point.workload.row.quality_metric,
            "test_samples": SMOKE_TEST_SAMPLES if self.smoke else None,
        }

    def _place(self, point: Point) -> str:
        cell = point.cell
        precision = f" {cell.precision}" if "precision" in self.varying else ""
        return f"{cell.backend} b{cell.batch_size}{precision}"

    def _structure_label(self, point: Point) -> str:
        parts = [point.structure, point.format or ""]
        return f"{point.cell.workload} {'+'.join(filter(None, parts)) or 'dense'} @ {self._place(point)}"

    def _lowered_label(self, point: Point, model: str) -> str:
        format_ = f" + {point.format}" if point.format else ""
        return f"{self.stages[model].label}{format_} @ {self._place(point)}"

    def _add(
        self,
        kind: str,
        point: Point,
        settings: dict[str, Any],
        parents: dict[str, str],
        label: str,
        *references: str,
        own_parents: bool = True,
    ) -> str:
        backend = point.backend if kind in ("lower", *_RUN_LOWERED) else point.train_backend
        row = point.workload.row
        loads = [datasets.get(name).load for name in row.datasets]
        implementations = [row.implementation, *loads, backend.row.implementation, *references]
        if kind in ("train", "step", "compress"):
            implementations.append(point.optimizer.row.implementation)
        key = make_key(
            kind,
            settings,
            parents if own_parents else {},
            implementations,
            device_kind(backend.row.device, self.cpus),
            _libraries(kind, backend.row),
            self.sources,
        )
        if self.reuse is not None and kind in LEAVES_ARTIFACT:
            key = self.reuse.key(key, settings)
        request = {
            "settings": settings,
            "parents": parents,
            "device": backend.row.device,
            "fork_safe": backend.row.fork_safe,
            "server_imports": _server_imports(kind, backend.row, implementations),
            "worker_imports": list(backend.row.worker_imports),
        }
        timed = kind in PRIMARY
        parent_keys = tuple(dict.fromkeys(parents.values()))
        self.stages.setdefault(key, StageRow(key, kind, label, timed, parent_keys, request))
        return key


def runs_alone(stage: StageRow) -> bool:
    """Say whether a stage has all cores to itself while it runs."""
    return stage.timed or stage.kind in EXCLUSIVE or stage.request["device"] != "cpu"


def _libraries(kind: str, backend: BackendRow) -> list[str]:
    lowering = backend.lowering_imports if kind == "lower" else ()
    running = backend.running_imports if kind in _RUN_LOWERED else ()
    return [*lowering, *running, *backend.worker_imports]


def _server_imports(kind: str, backend: BackendRow, implementations: list[str]) -> list[str]:
    lowering = backend.lowering_imports if kind == "lower" else ()
    running = backend.running_imports if kind in _RUN_LOWERED else ()
    ours = [
        place
        for place, _, _ in (reference.rpartition(":") for reference in implementations)
        if place.partition(".")[0] in ("bench", "techniques") and not place.endswith(".py")
    ]
    training = ("torch._dynamo",) if kind in _TRAINS else ()
    return list(dict.fromkeys([f"bench.stages.{kind}", *ours, *training, *lowering, *running]))
