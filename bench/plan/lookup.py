"""The techniques of a cell, and why a cell cannot run on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.matrix.axes import NO_OPTIMIZER
from bench.matrix.cells import Cell
from bench.workloads import WORKLOADS, WorkloadRow
from techniques.backends import BACKENDS, BackendRow
from techniques.compression import Recipe, parse_recipe
from techniques.optimizers import OPTIMIZERS
from techniques.registry import Row, Technique


class Lookup:
    """Looks up each technique once: a large matrix repeats few techniques in many cells."""

    def __init__(self) -> None:
        self.workload = cache(WORKLOADS.parse)
        self.optimizer = cache(OPTIMIZERS.parse)
        self.backend = cache(BACKENDS.parse)
        self.recipe = cache(parse_recipe)
        self._reasons: dict[int, str | None] = {}
        self.spelled = cache(lambda text: _spelled(self.recipe(text)))
        self._obstacles: dict[tuple[str, ...], str] = {}

    def why_not(self, chosen: CellTechniques) -> str:
        """Return why a cell cannot run on this machine; empty if it can."""
        cell = chosen.cell
        asked = (
            *(cell.workload, cell.optimizer, cell.train_backend, cell.backend, cell.compression),
            *(cell.train_precision, cell.precision),
        )
        if asked not in self._obstacles:
            self._obstacles[asked] = _why_not(chosen, self)
        return self._obstacles[asked]

    def unavailable(self, row: Row) -> str | None:
        """Return why a row cannot run on this machine, or None."""
        if id(row) not in self._reasons:
            self._reasons[id(row)] = row.unavailable()
        return self._reasons[id(row)]


@dataclass(frozen=True, slots=True)
class CellTechniques:
    """A cell with its techniques looked up.

    `format` is the format of numbers that the recipe ends with, or None. `structure` spells how the recipe
    changes the model's shapes; it is empty if the recipe keeps them.
    """

    cell: Cell
    workload: Technique[WorkloadRow]
    optimizer: Technique[Any]
    train_backend: Technique[BackendRow]
    backend: Technique[BackendRow]
    recipe: Recipe
    format: str | None
    structure: str

    @classmethod
    def of(cls, cell: Cell, lookup: Lookup) -> CellTechniques:
        return cls(
            cell,
            lookup.workload(cell.workload),
            lookup.optimizer(cell.optimizer),
            lookup.backend(cell.train_backend),
            lookup.backend(cell.backend),
            lookup.recipe(cell.compression),
            *lookup.spelled(cell.compression),
        )

    @property
    def training_label(self) -> str:
        cell = self.cell
        batch = "" if cell.train_batch_size == self.workload.row.batch_size else f" b{cell.train_batch_size}"
        precision = "" if cell.train_precision == "fp32" else f" {cell.train_precision}"
        backend = "" if cell.train_backend == "cpu-eager" else f" on {cell.train_backend}"
        seed = f" seed {cell.seed}" if cell.seed else ""
        optimizer = "" if self.workload.row.inference_only else f" {cell.optimizer}"
        return f"{cell.workload}{optimizer}{backend}{precision}{batch}{seed}"


def _spelled(recipe: Recipe) -> tuple[str | None, str]:
    """Return the text of a recipe's format, None without one, and of how it changes a model's shapes."""
    changes = (step.row.structure_of(step.settings) for step in recipe.steps)
    return recipe.format.text if recipe.format else None, "+".join(text for text in changes if text)


def _why_not(chosen: CellTechniques, lookup: Lookup) -> str:
    cell = chosen.cell
    techniques: list[Technique[Any]] = [
        chosen.workload,
        chosen.optimizer,
        chosen.train_backend,
        chosen.backend,
        *chosen.recipe.techniques,
    ]
    for technique in techniques:
        reason = lookup.unavailable(technique.row)
        if reason:
            return f"{technique.name}: {reason}"
    format_ = chosen.recipe.format.name if chosen.recipe.format else None
    if chosen.optimizer.name == NO_OPTIMIZER and not chosen.workload.row.inference_only:
        return f"{NO_OPTIMIZER}: only for a workload that is served without training"
    for name in chosen.backend.row.training_only:
        if chosen.backend.settings[name] != chosen.backend.row.defaults[name]:
            return f"{chosen.backend.text}: {name} is a setting of training; omit it in [infer]"
    if chosen.workload.row.is_onnx and not chosen.backend.row.reads_onnx:
        readers = ", ".join(row.name for row in BACKENDS.rows().values() if row.reads_onnx)
        return f"{chosen.backend.name} does not read ONNX files; these do: {readers}"
    return (
        chosen.train_backend.row.cannot_train(cell.train_precision)
        or chosen.backend.row.cannot_lower(format_, cell.precision)
        or ""
    )
