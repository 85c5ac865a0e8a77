"""From a command to a run that is ready: read the matrix, find its data, plan it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import datasets
from bench.costs import guessed_s
from bench.errors import DataError, MatrixError
from bench.execution.engines import connect, engine_named
from bench.execution.engines.agent import setup_of
from bench.execution.engines.engine import Engine, wait_for_nodes
from bench.execution.options import RunOptions
from bench.execution.resources import Resources, find_resources
from bench.formatting import counted
from bench.identity.loaded import loader
from bench.identity.reuse import Reuse
from bench.instruments.variables import deciding_variables, slow_variables
from bench.matrix.axes import left_out_lines
from bench.matrix.cells import Matrix
from bench.matrix.reading import read_matrix
from bench.plan.names import varying_axes
from bench.plan.planner import Plan, make_plan
from bench.plan.shards import Shard, shard_of
from bench.plugins import first_line, load_plugins
from bench.results.exchange import Exchange
from bench.results.folder import check_writable, refuse_bytes, refuse_file
from bench.results.store import StageRow, Store
from bench.workloads import EXPORTED, OWN, WORKLOADS
from bench.workloads.content import check_content, content_path
from bench.workloads.input_files import input_files
from bench.workloads.trust import trust
from techniques.backends import ELSEWHERE
from techniques.registry import TechniqueError, load_reference


@dataclass(frozen=True)
class Prepared:
    """A matrix ready to run: its plan, plug-ins, resources, and notes on what differs from the file.

    `engine` is connected to a cluster; None stands for this machine. `started_s` is when the run was asked
    for, by `bench.costs.timeline.now_s`; 0 stands for the start of the process.
    """

    options: RunOptions
    matrix: Matrix
    plan: Plan
    plugins: dict[str, str]
    resources: Resources
    notes: tuple[str, ...]
    shard: Shard | None = None
    engine: Engine | None = None
    started_s: float = 0.0

    @property
    def max_launches(self) -> int:
        """Return how many launches a timed stage may have."""
        return 1 if self.options.smoke else self.matrix.budget.max_launches

    @property
    def identity(self) -> str:
        """Return a hash that two commands share if they ask for the same run."""
        content = {
            "matrix": self.matrix.name,
            "budget": self.matrix.budget.model_dump(),
            **reported_settings(self.matrix),
            "stages": sorted(self.plan.stages),
            "cells": [asdict(replace(cell, axes=dict(cell.axes))) for cell in self.plan.cells],
            "plugins": sorted(self.plugins.values()),
            "smoke": self.options.smoke,
            "anew": self.options.rebuild,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def prepare(options: RunOptions, *, fetch: bool = True, say: datasets.Say = print) -> Prepared:
    """Read the matrix, find its data, plan it.

    Only where `fetch` is true is data fetched, and a cluster connected to: its queue may be long. Otherwise
    the plan is for this machine.
    """
    with ExitStack() as opened:
        prepared = _prepare(options, fetch, say, opened)
        opened.pop_all()  # what was opened stays so, for the run
    return prepared


def _prepare(options: RunOptions, fetch: bool, say: datasets.Say, opened: ExitStack) -> Prepared:
    refuse_file(options.results)
    refuse_bytes(options.results)
    engine_named(options.engine)
    trust(options.trusted)
    plugins = load_plugins(options.plugins)
    ELSEWHERE.clear()
    matrix = _read(options)
    _try_own_workloads(matrix)
    if fetch:
        check_writable(options.results)  # what cannot be written must not cost a download first
        if options.store:
            Store.open(options.results, options.store).close()
    problems, notes = _find_data(matrix, fetch, say)
    substitutes = {name: matrix.fallback[name] for name in problems if name in matrix.fallback}
    if substitutes:
        matrix = _read(options, substitutes)
        problems = {name: why for name, why in problems.items() if name not in substitutes}
        notes += [f"{old} is replaced by {new}: its data is unavailable" for old, new in substitutes.items()]
    setup = partial(setup_of, options.results, matrix.budget, options.artifacts)
    engine = connect(options.engine, setup, say) if fetch else None
    if engine is not None:
        opened.callback(engine.close)
        ELSEWHERE.update(engine.obstacles())
        matrix = _read(options, substitutes)  # "auto" is what runs on the nodes
    of_matrix = [f"{matrix.name} leaves out {matrix.leaves_out}"] if matrix.leaves_out else []
    notes = [
        *slow_variables(deciding_variables()),
        *of_matrix,
        *left_out_lines(matrix.left_out),
        *notes,
    ]
    resources = _resources(engine, matrix, say)
    reuse = Reuse(options.results, loader(options.results, plugins, say))
    if fetch and options.artifacts:
        reuse.bring = partial(Exchange(options.artifacts).fetch_alike, options.results)
    plan_of = partial(
        make_plan,
        cpus=len(resources.cpus),
        smoke=options.smoke,
        problems=problems,
        reuse=reuse,
        devices=engine.devices() if engine else None,
    )
    plan, shard = plan_of(matrix), None
    if options.shard:
        whole = matrix.cells
        launches = 1 if options.smoke else matrix.budget.max_launches
        matrix, shard = shard_of(matrix, plan, options.shard, guessed_s(plan.stages.values(), launches))
        plan = plan_of(matrix, varying=varying_axes(whole))
        notes.append(_shard_text(shard, len(matrix.cells), len(whole)))
    if options.only:
        whole = matrix.cells
        matrix = _cells_of(matrix, plan, options.only)
        plan = plan_of(matrix, varying=varying_axes(whole))
    notes += [_again(plan.stages[key], why) for key, why in plan.again.items()]
    if not plan.stages:
        why = f"no cell can run here: {plan.cells[0].skipped}"
        if shard is None:
            raise MatrixError(f"{options.matrix}: {why}")
        notes.append(f"shard {shard}: {why}")  # its report belongs to the others' all the same
    return Prepared(options, matrix, plan, plugins, resources, tuple(notes), shard, engine)


def _resources(engine: Engine | None, matrix: Matrix, say: datasets.Say) -> Resources:
    """Return the cores and memory to plan for: those of a node, which may be lost just after it came."""
    if engine is None:
        return find_resources(matrix.budget.memory_gib)
    return wait_for_nodes(engine, say)[0].resources


def _cells_of(matrix: Matrix, plan: Plan, stages: frozenset[str]) -> Matrix:
    """Return a matrix with those cells that have one of these stages; raises MatrixError where none has."""
    keys = {key for key, stage in plan.stages.items() if f"{stage.kind} {stage.label}" in stages}
    cells = [
        cell for cell, row in zip(matrix.cells, plan.cells, strict=True) if keys & set(row.stages.values())
    ]
    if not cells:
        raise MatrixError(f"{matrix.name}: no cell has a stage {sorted(stages)[0]}")
    return replace(matrix, cells=tuple(cells), further=())


def _read(options: RunOptions, substitutes: Mapping[str, str] | None = None) -> Matrix:
    matrix = read_matrix(options.matrix, options.filter, substitutes, options.workloads)
    if options.budget_s is None:
        return matrix
    return replace(matrix, budget=matrix.budget.model_copy(update={"budget_s": options.budget_s}))


def _shard_text(shard: Shard, cells: int, of: int) -> str:
    return (
        f"shard {shard}: {cells:,} of {counted(of, 'cell')}; split {shard.split}, "
        f"which every shard of this matrix must show; --shard N/{shard.of}@{shard.split} makes sure of it"
    )


def _again(stage: StageRow, why: str) -> str:
    return f"{stage.kind} {stage.label}: made again, {why}"


def _try_own_workloads(matrix: Matrix) -> None:
    """Import what the user's own workloads refer to, so that a mistake is reported before anything runs.

    A missing reference, file or folder of a model is refused here too, and so is a program of torch.export
    that could run code.
    """
    for name in dict.fromkeys(cell.workload for cell in matrix.cells):
        technique = WORKLOADS.parse(name)
        try:
            check_content(name)
        except TechniqueError as error:
            raise MatrixError(f"workload {name}: {error}") from None
        if technique.name == EXPORTED:
            _check_program(str(technique.settings["file"]))
        if technique.name != OWN:
            continue
        try:
            load_reference(technique.row.implementation)
        except (Exception, SystemExit) as error:
            raise MatrixError(f"workload {name}: {first_line(error)}") from error


def _check_program(file: str) -> None:
    from bench.workloads.exported_file import check_file  # which imports torch

    path = Path(file).expanduser()
    if path.is_file():  # otherwise its stage reports it
        check_file(path)


def _find_data(matrix: Matrix, fetch: bool, say: datasets.Say) -> tuple[dict[str, str], list[str]]:
    """Return why the data of a workload is unavailable, and notes on data that will be fetched."""
    problems: dict[str, str] = {}
    notes: list[str] = []
    for name in dict.fromkeys(cell.workload for cell in matrix.cells):
        content = content_path(name)
        if content is not None:
            input_files(content)  # refuses what is too large to read
        try:
            for dataset in WORKLOADS.parse(name).row.datasets:
                if fetch:
                    datasets.fetch(dataset, say)
                elif datasets.locate(dataset) is None:
                    notes.append(f"{name}: data set {dataset} is missing; the run will fetch it")
        except DataError as error:
            problems[name] = str(error)
    return problems, notes


def reported_settings(matrix: Matrix) -> dict[str, Any]:
    """Return the settings that only the report uses; the run's record keeps them."""
    prices = matrix.prices.model_dump() if matrix.prices else None
    peaks = {device: peak.model_dump() for device, peak in matrix.peaks.items()}
    return {
        **{"prices": prices, "estimate": matrix.estimate.model_dump(), "peaks": peaks},
        "limits": [limit.to_json() for limit in matrix.limits],
    }
