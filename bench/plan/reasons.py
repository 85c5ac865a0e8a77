"""Why a cell cannot run on this machine, in one line and by groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bench.formatting import counted
from bench.instruments.accelerators import visible_gpus
from bench.matrix.axes import NO_OPTIMIZER
from bench.matrix.tuning import tuning_of
from bench.plan.lookup import CellTechniques
from techniques.backends import BACKENDS, ELSEWHERE
from techniques.optimizers.search import searched
from techniques.parallel import cannot_spread
from techniques.regime import clash_with_own_average
from techniques.registry import Obstacle, Row

HARDWARE = "need hardware that is not here"
PACKAGES = "need packages that are not installed"
SYSTEM = "cannot run on this system"
DATA = "need data that is unavailable"
TRAINING = "train on a backend that only serves"
PRECISION = "have a precision that their backend lacks"
KERNEL = "have a format that their backend has no kernel for"
SETTING = "have a setting of a format that their backend lacks"
MISMATCH = "combine what does not go together"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a cell cannot run here.

    `group` completes "cells that ...", and `about` names the technique. `commands` install what is missing;
    they are there only if nothing else keeps the cell from running.
    """

    text: str
    group: str
    about: str
    commands: tuple[str, ...] = ()


class Reasons:
    """Finds why cells cannot run here, each reason once for all cells that have it.

    `cpus` are the cores that stages have, None where that is not known.
    """

    def __init__(self, cpus: int | None = None) -> None:
        self._cpus = cpus
        self._obstacles: dict[int, Obstacle | None] = {}
        self._reasons: dict[tuple[str | int, ...], Reason | None] = {}

    def reason(self, chosen: CellTechniques) -> Reason | None:
        """Return why a cell cannot run here, None if it can; what no command mends comes first."""
        cell = chosen.cell
        asked = (
            *(cell.workload, cell.optimizer, cell.train_backend, cell.backend, cell.compression),
            *(cell.schedule, cell.clip, cell.average, cell.tuning),
            *(cell.train_precision, cell.precision),
            *(cell.devices, cell.parallel, cell.train_batch_size),
        )
        if asked not in self._reasons:
            self._reasons[asked] = _first(list(self._all(chosen)))
        return self._reasons[asked]

    def _all(self, chosen: CellTechniques) -> Iterator[Reason]:
        for technique in chosen.techniques:
            row = technique.row
            if id(row) not in self._obstacles:
                self._obstacles[id(row)] = row.obstacle()
            obstacle = self._obstacles[id(row)]
            if obstacle is not None:
                yield _of_obstacle(row, obstacle)
        yield from _mismatches(chosen)
        yield from _lacks(chosen)
        if chosen.cell.devices > 1:
            yield from _cannot_share(chosen, self._cpus)


def _first(reasons: list[Reason]) -> Reason | None:
    lasting = next((reason for reason in reasons if not reason.commands), None)
    if lasting is not None or not reasons:
        return lasting
    commands = tuple(dict.fromkeys(command for reason in reasons for command in reason.commands))
    return replace(reasons[0], commands=commands)


def _lacks(chosen: CellTechniques) -> Iterator[Reason]:
    train, serve, cell = chosen.train_backend.row, chosen.backend.row, chosen.cell
    if text := train.cannot_train(cell.train_precision):
        yield Reason(text, PRECISION if train.trains else TRAINING, train.name)
    technique = chosen.recipe.format
    format_, own = (technique.name, technique.settings) if technique else (None, {})
    if text := serve.cannot_lower(format_, cell.precision):
        lacks_kernel = cell.precision in serve.precisions and format_ not in serve.formats
        lacks = MISMATCH if not serve.serves else KERNEL if lacks_kernel else PRECISION
        yield Reason(text, lacks, serve.name)
    elif text := serve.cannot_lower(format_, cell.precision, own):
        yield Reason(text, SETTING, serve.name)


def _cannot_share(chosen: CellTechniques, cpus: int | None) -> Iterator[Reason]:
    """Yield why so many devices cannot train together."""
    cell, backend, parallel = chosen.cell, chosen.train_backend.row, chosen.parallel
    if text := cannot_spread(backend, parallel, cell.devices):
        yield Reason(text, MISMATCH, parallel.name)
    found = cpus if backend.device == "cpu" else visible_gpus()
    if found is not None and cell.devices > found and backend.name not in ELSEWHERE:
        what = counted(found, "core" if backend.device == "cpu" else "GPU")
        yield Reason(f"devices={cell.devices}: {backend.name} has {what} here", HARDWARE, backend.name)
    if parallel.row.splits_batches and cell.train_batch_size % cell.devices:
        text = f"devices={cell.devices}: a batch of {cell.train_batch_size} cannot be shared equally"
        yield Reason(text, MISMATCH, parallel.name)


def _of_obstacle(row: Row, obstacle: Obstacle) -> Reason:
    text = f"{row.name}: {obstacle}"
    if obstacle.command and not obstacle.hardware:
        return Reason(text, PACKAGES, row.name, (obstacle.command,))
    return Reason(text, HARDWARE if obstacle.hardware else SYSTEM, row.name)


def _mismatches(chosen: CellTechniques) -> Iterator[Reason]:
    backend, workload = chosen.backend, chosen.workload.row
    if chosen.optimizer.name == NO_OPTIMIZER and not workload.inference_only:
        text = f"{NO_OPTIMIZER}: only for a workload that is served without training"
        yield Reason(text, MISMATCH, NO_OPTIMIZER)
    if chosen.optimizer.row.own_average and (text := clash_with_own_average(chosen.regime)):
        yield Reason(f"{chosen.optimizer.name} {text}", MISMATCH, chosen.optimizer.name)
    if tuning_of(chosen.cell.tuning) and not searched(chosen.optimizer):
        names = ", ".join(chosen.optimizer.row.space)
        why = f"the matrix writes {names}, all that it is searched in" if names else "its row has no space"
        yield Reason(f"{chosen.optimizer.text}: nothing to tune: {why}", MISMATCH, chosen.optimizer.name)
    for name in backend.row.training_only:
        if backend.settings[name] != backend.row.defaults[name]:
            text = f"{backend.text}: {name} is a setting of training; omit it in [infer]"
            yield Reason(text, MISMATCH, backend.name)
    if backend.row.only_generates and not workload.generates:
        text = f"{backend.name} only continues texts, which {chosen.workload.name} does not"
        yield Reason(text, MISMATCH, backend.name)
    if workload.is_onnx and not backend.row.reads_onnx:
        text = f"{backend.name} does not read ONNX files; these do: {', '.join(_readers())}"
        yield Reason(text, MISMATCH, backend.name)


def _readers() -> Iterable[str]:
    return (row.name for row in BACKENDS.rows().values() if row.reads_onnx)
