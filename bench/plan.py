"""From cells to a plan: a directed graph of stages, each there once however many cells share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.axes import NO_OPTIMIZER
from bench.cells import cell_name, varying_axes
from bench.keys import device_kind, make_key, path_digest
from bench.matrix import Cell, Matrix
from bench.matrix_file import Budget, Server
from bench.metrics import PRIMARY
from bench.roofline import CEILING_DEVICES
from bench.store import CellRow, StageRow
from bench.workloads import WORKLOADS, WorkloadRow
from techniques.backends import BACKENDS, BackendRow
from techniques.compression import Recipe, parse_recipe
from techniques.optimizers import OPTIMIZERS
from techniques.registry import Row, Technique

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

_RUN_LOWERED = ("evaluate", "serve", "generate", "infer")

GENERATING_BACKENDS = ("cpu-eager", "cuda-eager")
"""Backends that run the model's own code, which keeps the key-value cache that generation goes by."""

CEILING_S, SMOKE_CEILING_S = 0.1, 0.002
"""Seconds for which each ceiling is measured."""


@dataclass(frozen=True)
class Plan:
    """What a matrix comes to: its stages, parents first, and its cells, those left out with their reason."""

    stages: Mapping[str, StageRow]
    cells: tuple[CellRow, ...]

    @property
    def skipped(self) -> tuple[CellRow, ...]:
        return tuple(cell for cell in self.cells if cell.skipped)

    def of_kind(self, kind: str) -> list[StageRow]:
        """Return the stages of one kind, in the order of the matrix."""
        return [stage for stage in self.stages.values() if stage.kind == kind]


def make_plan(
    matrix: Matrix, cpus: int, *, smoke: bool = False, problems: Mapping[str, str] | None = None
) -> Plan:
    """Plan a matrix. `problems` says of a workload why its data is not to be had."""
    planner = _Planner(
        matrix.budget, matrix.server, cpus, smoke, varying_axes(matrix.cells), dict(problems or {})
    )
    cells = tuple(planner.add(cell) for cell in matrix.cells)
    stages = sorted(planner.stages.values(), key=lambda stage: _ORDER[stage.kind])
    return Plan({stage.key: stage for stage in stages}, cells)


@dataclass
class _Planner:
    budget: Budget
    server: Server | None
    cpus: int
    smoke: bool
    varying: frozenset[str]
    problems: Mapping[str, str]
    stages: dict[str, StageRow] = field(default_factory=dict)
    lookup: _Lookup = field(default_factory=lambda: _Lookup())

    def add(self, cell: Cell) -> CellRow:
        """Plan a cell's stages, or say why it cannot run."""
        point = _Point.of(cell, self.lookup)
        reason = self.problems.get(cell.workload) or _why_not(point, self.lookup)
        name = cell_name(cell, self.varying)
        if reason:
            return CellRow(name, cell.axes(), {}, reason)
        return CellRow(name, cell.axes(), self._stages_of(point))

    def _stages_of(self, point: _Point) -> dict[str, str]:
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

    def _train(self, point: _Point) -> str:
        row, cell = point.workload.row, point.cell
        settings = {
            **self._training(point),
            "seed": cell.seed,
            "steps": SMOKE_STEPS if self.smoke else self.budget.train_steps or row.train_steps,
            "target": row.target,
            "evaluations_per_epoch": row.evaluations_per_epoch,
        }
        return self._add("train", point, settings, {}, point.training_label)

    def _step(self, point: _Point) -> str:
        settings = {**self._training(point), "sample_s": self.budget.sample_s}
        return self._add("step", point, settings, {}, f"{point.training_label} step")

    def _compress(self, point: _Point, step: Technique[Any], model: str) -> str:
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

    def _teach(self, point: _Point, model: str) -> str:
        """Plan a teacher's outputs on the training set: once, for all students that it has."""
        label = f"{self.stages[model].label} as a teacher"
        return self._add("teach", point, self._common(point), {"model": model}, label)

    def _lower(self, point: _Point, model: str) -> str:
        settings = self._lowered(point)
        return self._add("lower", point, settings, {"model": model}, self._lowered_label(point, model))

    def _evaluate(self, point: _Point, lowered: str, model: str, reference: str) -> str:
        parents = {"lowered": lowered, "model": model, "reference": reference}
        label = self._lowered_label(point, model)
        return self._add("evaluate", point, self._lowered(point), parents, label)

    def _infer(self, point: _Point, lowered: str) -> str:
        """Plan one timing for all artifacts of one structure: dense kernels take as long for any weights."""
        settings = {**self._lowered(point), "structure": point.structure, "sample_s": self.budget.sample_s}
        label = self._structure_label(point)
        return self._add("infer", point, settings, {"lowered": lowered}, label, own_parents=False)

    def _serve(self, point: _Point, lowered: str, server: Server) -> str:
        """Plan the server scenario of a structure, once, as its timing."""
        settings = {
            **self._lowered(point),
            "structure": point.structure,
            "p99_s": server.p99_ms / 1e3,
            "seconds": 0.2 if self.smoke else server.seconds,
        }
        label = f"{self._structure_label(point)} server"
        return self._add("serve", point, settings, {"lowered": lowered}, label, own_parents=False)

    def _generates(self, point: _Point) -> bool:
        row, format_ = point.workload.row, point.format
        return row.generates and format_ is None and point.backend.name in GENERATING_BACKENDS

    def _generate(self, point: _Point, lowered: str) -> str:
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
        key = make_key("ceilings", settings, {}, (), device_kind(backend.device, self.cpus))
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

    def _training(self, point: _Point) -> dict[str, Any]:
        cell = point.cell
        return {
            **self._common(point),
            "optimizer": cell.optimizer,
            "optimizer_settings": dict(point.optimizer.settings),
            "backend": cell.train_backend,
            "precision": cell.train_precision,
            "batch_size": cell.train_batch_size,
        }

    def _lowered(self, point: _Point) -> dict[str, Any]:
        cell = point.cell
        return {
            **self._common(point),
            "format": point.format,
            "backend": cell.backend,
            "precision": cell.precision,
            "batch_size": cell.batch_size,
        }

    def _common(self, point: _Point) -> dict[str, Any]:
        return {
            "workload": point.cell.workload,
            "quality_metric": point.workload.row.quality_metric,
            "test_samples": SMOKE_TEST_SAMPLES if self.smoke else None,
            **self.lookup.content(point.cell.workload),
        }

    def _place(self, point: _Point) -> str:
        cell = point.cell
        precision = f" {cell.precision}" if "precision" in self.varying else ""
        return f"{cell.backend} b{cell.batch_size}{precision}"

    def _structure_label(self, point: _Point) -> str:
        parts = [point.structure, point.format or ""]
        return f"{point.cell.workload} {'+'.join(filter(None, parts)) or 'dense'} @ {self._place(point)}"

    def _lowered_label(self, point: _Point, model: str) -> str:
        format_ = f" + {point.format}" if point.format else ""
        return f"{self.stages[model].label}{format_} @ {self._place(point)}"

    def _add(
        self,
        kind: str,
        point: _Point,
        settings: dict[str, Any],
        parents: dict[str, str],
        label: str,
        *references: str,
        own_parents: bool = True,
    ) -> str:
        backend = point.backend if kind in ("lower", *_RUN_LOWERED) else point.train_backend
        implementations = [point.workload.row.implementation, backend.row.implementation, *references]
        if kind in ("train", "step", "compress"):
            implementations.append(point.optimizer.row.implementation)
        key = make_key(
            kind,
            settings,
            parents if own_parents else {},
            implementations,
            device_kind(backend.row.device, self.cpus),
        )
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


class _Lookup:
    """Finds each technique once, and whether it runs here: a large matrix names few in many cells."""

    def __init__(self) -> None:
        self.workload = cache(WORKLOADS.parse)
        self.optimizer = cache(OPTIMIZERS.parse)
        self.backend = cache(BACKENDS.parse)
        self.recipe = cache(parse_recipe)
        self.content = cache(_content)
        self._reasons: dict[int, str | None] = {}

    def unavailable(self, row: Row) -> str | None:
        """Say why a row cannot run on this machine, or None."""
        if id(row) not in self._reasons:
            self._reasons[id(row)] = row.unavailable()
        return self._reasons[id(row)]


@dataclass(frozen=True)
class _Point:
    """A cell with its techniques looked up."""

    cell: Cell
    workload: Technique[WorkloadRow]
    optimizer: Technique[Any]
    train_backend: Technique[BackendRow]
    backend: Technique[BackendRow]
    recipe: Recipe

    @classmethod
    def of(cls, cell: Cell, lookup: _Lookup) -> _Point:
        return cls(
            cell,
            lookup.workload(cell.workload),
            lookup.optimizer(cell.optimizer),
            lookup.backend(cell.train_backend),
            lookup.backend(cell.backend),
            lookup.recipe(cell.compression),
        )

    @property
    def format(self) -> str | None:
        return self.recipe.format.text if self.recipe.format else None

    @property
    def structure(self) -> str:
        """Spell what the recipe makes of the model's shapes, empty where it leaves them."""
        spelled = [step.row.structure_of(step.settings) for step in self.recipe.steps]
        return "+".join(text for text in spelled if text)

    @property
    def training_label(self) -> str:
        cell = self.cell
        batch = "" if cell.train_batch_size == self.workload.row.batch_size else f" b{cell.train_batch_size}"
        precision = "" if cell.train_precision == "fp32" else f" {cell.train_precision}"
        backend = "" if cell.train_backend == "cpu-eager" else f" on {cell.train_backend}"
        seed = f" seed {cell.seed}" if cell.seed else ""
        optimizer = "" if self.workload.row.inference_only else f" {cell.optimizer}"
        return f"{cell.workload}{optimizer}{backend}{precision}{batch}{seed}"


def _content(workload: str) -> dict[str, str]:
    """Return the hash of the model that a workload names by a path, as a setting; empty for any other."""
    technique = WORKLOADS.parse(workload)
    if not technique.row.content:
        return {}
    place = str(technique.settings[technique.row.content])
    place = place.rpartition(":")[0] if ".py:" in place else place
    path = Path(place).expanduser()
    return {"content": path_digest(path)} if path.exists() else {}


def _why_not(point: _Point, lookup: _Lookup) -> str:
    """Say why a cell cannot run on this machine, or return an empty text."""
    cell = point.cell
    techniques: list[Technique[Any]] = [
        point.workload,
        point.optimizer,
        point.train_backend,
        point.backend,
        *point.recipe.techniques,
    ]
    for technique in techniques:
        reason = lookup.unavailable(technique.row)
        if reason:
            return f"{technique.name}: {reason}"
    format_ = point.recipe.format.name if point.recipe.format else None
    if point.optimizer.name == NO_OPTIMIZER and not point.workload.row.inference_only:
        return f"{NO_OPTIMIZER}: stands for the optimizer of a model that is served as it is"
    for name in point.backend.row.training_only:
        if point.backend.settings[name] != point.backend.row.defaults[name]:
            return f"{point.backend.text}: {name} says how a model is trained; leave it out of [infer]"
    only = point.workload.row.only_backends
    if only and point.backend.name not in only:
        return f"{point.workload.name}: runs on {', '.join(only)} only"
    return (
        point.train_backend.row.cannot_train(cell.train_precision)
        or point.backend.row.cannot_lower(format_, cell.precision)
        or ""
    )


def runs_alone(stage: StageRow) -> bool:
    """Say whether a stage has all cores to itself while it runs."""
    return stage.timed or stage.kind in EXCLUSIVE or stage.request["device"] != "cpu"


def _server_imports(kind: str, backend: BackendRow, implementations: list[str]) -> list[str]:
    lowering = backend.lowering_imports if kind == "lower" else ()
    running = backend.running_imports if kind in _RUN_LOWERED else ()
    ours = [
        place
        for place, _, _ in (reference.rpartition(":") for reference in implementations)
        if place.partition(".")[0] in ("bench", "techniques") and not place.endswith(".py")
    ]
    return list(dict.fromkeys([f"bench.stages.{kind}", *ours, *lowering, *running]))
