"""The techniques of a cell, each looked up once for all cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from bench.matrix.cells import Cell
from bench.matrix.tuning import tuning_of
from bench.workloads import WORKLOADS, WorkloadRow
from techniques.backends import BACKENDS, BackendRow
from techniques.compression import Recipe, parse_recipe
from techniques.optimizers import OPTIMIZERS
from techniques.optimizers.search import RATE
from techniques.parallel import PARALLELS, ParallelRow
from techniques.regime import AVERAGES, CLIPS, CONSTANT, NONE, SCHEDULES, Regime
from techniques.registry import Technique


class Lookup:
    """Looks up each technique once: a large matrix repeats few techniques in many cells."""

    def __init__(self) -> None:
        self.workload = cache(WORKLOADS.parse)
        self.optimizer = cache(OPTIMIZERS.parse)
        self.backend = cache(BACKENDS.parse)
        self.regime = cache(_regime)
        self.parallel = cache(PARALLELS.parse)
        self.recipe = cache(parse_recipe)
        self.spelled = cache(lambda text: _spelled(self.recipe(text)))


@dataclass(frozen=True, slots=True)
class CellTechniques:
    """A cell with its techniques looked up.

    `regime` is the schedule, the clipping and the average, `parallel` how devices train together. `format`
    is the format of numbers that the recipe ends with, or None. `structure` spells how the recipe changes the
    model's shapes; it is empty if the recipe keeps them.
    """

    cell: Cell
    workload: Technique[WorkloadRow]
    optimizer: Technique[Any]
    regime: Regime
    parallel: Technique[ParallelRow]
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
            lookup.regime(cell.schedule, cell.clip, cell.average),
            lookup.parallel(cell.parallel),
            lookup.backend(cell.train_backend),
            lookup.backend(cell.backend),
            lookup.recipe(cell.compression),
            *lookup.spelled(cell.compression),
        )

    @property
    def techniques(self) -> list[Technique[Any]]:
        """Return all of them, in the order in which obstacles are told."""
        return [
            *(self.workload, self.optimizer, self.train_backend, self.backend),
            *(*self.regime.techniques, self.parallel),
            *self.recipe.techniques,
        ]

    @property
    def at_own_rate(self) -> CellTechniques:
        """Return the cell with its optimizer's own rate, since a rate changes nothing of a step's time."""
        row, settings = self.optimizer.row, self.optimizer.settings
        if settings.get(RATE) == row.defaults.get(RATE):
            return self
        optimizer = Technique(row, {**settings, RATE: row.defaults[RATE]})
        return replace(self, optimizer=optimizer, cell=replace(self.cell, optimizer=optimizer.text))

    @property
    def training_label(self) -> str:
        """Name the cell's training, for people and baselines."""
        tuning = f" {self.cell.tuning}" if tuning_of(self.cell.tuning) else ""
        return f"{self.tuned_label}{self.devices_label}{tuning}{self.seed_label}"

    @property
    def devices_label(self) -> str:
        """Name the devices that train together; a single one needs no name."""
        return "" if self.cell.devices == 1 else f" {self.cell.parallel} x{self.cell.devices}"

    @property
    def seed_label(self) -> str:
        """Name the cell's seed; the seed 0 needs no name."""
        return f" seed {self.cell.seed}" if self.cell.seed else ""

    @property
    def tuned_label(self) -> str:
        """Name what trials tune: the training without its seed."""
        cell = self.cell
        batch = "" if cell.train_batch_size == self.workload.row.batch_size else f" b{cell.train_batch_size}"
        precision = "" if cell.train_precision == "fp32" else f" {cell.train_precision}"
        backend = "" if cell.train_backend == "cpu-eager" else f" on {cell.train_backend}"
        optimizer = "" if self.workload.row.inference_only else f" {cell.optimizer}"
        return f"{cell.workload}{optimizer}{self._regime_label}{backend}{precision}{batch}"

    @property
    def _regime_label(self) -> str:
        cell = self.cell
        schedule = "" if cell.schedule == CONSTANT else f" {cell.schedule}"
        clip = "" if cell.clip == NONE else f" clip {cell.clip}"
        average = "" if cell.average == NONE else f" average {cell.average}"
        return f"{schedule}{clip}{average}"


def _regime(schedule: str, clip: str, average: str) -> Regime:
    return Regime(SCHEDULES.parse(schedule), CLIPS.parse(clip), AVERAGES.parse(average))


def _spelled(recipe: Recipe) -> tuple[str | None, str]:
    """Return the text of a recipe's format, None without one, and of how it changes a model's shapes."""
    changes = (step.row.structure_of(step.settings) for step in recipe.steps)
    return recipe.format.text if recipe.format else None, "+".join(text for text in changes if text)
