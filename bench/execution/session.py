"""From a command to a finished run: find data, plan, start or resume, execute."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import datasets
from bench.costs import guessed_s
from bench.costs.timeline import REPORT, RUNNER, Timeline, now_s, process_started_s
from bench.digests import DISTRIBUTION, version_of
from bench.errors import DataError, MatrixError
from bench.execution.engines import connect, engine_named
from bench.execution.engines.agent import setup_of
from bench.execution.engines.engine import Engine
from bench.execution.engines.local import this_machine
from bench.execution.forecast import note_growth, predict
from bench.execution.job import Job
from bench.execution.options import RunOptions
from bench.execution.resources import Resources, find_resources
from bench.execution.run_log import SHOWN, also_logged, logged_to
from bench.execution.runner import TimeThem, in_rounds, run_plan
from bench.formatting import counted
from bench.identity.loaded import loader
from bench.identity.reuse import Reuse, what_changed
from bench.matrix.cells import Matrix
from bench.matrix.reading import read_matrix
from bench.metrics import METRICS
from bench.plan.names import varying_axes
from bench.plan.planner import Plan, make_plan
from bench.plan.shards import Shard, shard_of
from bench.plugins import first_line, load_plugins
from bench.results.artifacts import clear_unfinished
from bench.results.exchange import Exchange
from bench.results.folder import WORK, alone_in, check_writable, refuse_bytes, refuse_file, run_name
from bench.results.store import StageRow, Store
from bench.workloads import EXPORTED, OWN, WORKLOADS
from bench.workloads.content import check_content, content_path
from bench.workloads.input_files import input_files
from bench.workloads.trust import trust
from techniques.backends import ELSEWHERE
from techniques.registry import TechniqueError, load_reference

_LOG = logging.getLogger(__name__)


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
            **_reported_settings(self.matrix),
            "stages": sorted(self.plan.stages),
            "cells": [asdict(cell) for cell in self.plan.cells],
            "plugins": sorted(self.plugins.values()),
            "smoke": self.options.smoke,
            "anew": self.options.rebuild,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """A run that ended: its id, whether every stage of it is ok."""

    run_id: str
    ok: bool


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
    notes = [*map(str, matrix.left_out), *notes]
    resources = engine.nodes()[0].resources if engine else find_resources(matrix.budget.memory_gib)
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
        raise MatrixError(f"{options.matrix}: no cell can run here: {plan.cells[0].skipped}")
    return Prepared(options, matrix, plan, plugins, resources, tuple(notes), shard, engine)


def _cells_of(matrix: Matrix, plan: Plan, stages: frozenset[str]) -> Matrix:
    """Return a matrix with those cells that have one of these stages; raises MatrixError where none has."""
    keys = {key for key, stage in plan.stages.items() if f"{stage.kind} {stage.label}" in stages}
    cells = [
        cell for cell, row in zip(matrix.cells, plan.cells, strict=True) if keys & set(row.stages.values())
    ]
    if not cells:
        raise MatrixError(f"{matrix.name}: no cell has a stage {sorted(stages)[0]}")
    return replace(matrix, cells=tuple(cells))


def _read(options: RunOptions, substitutes: Mapping[str, str] | None = None) -> Matrix:
    matrix = read_matrix(options.matrix, options.filter, substitutes, options.workloads)
    if options.budget_s is None:
        return matrix
    return replace(matrix, budget=matrix.budget.model_copy(update={"budget_s": options.budget_s}))


def _shard_text(shard: Shard, cells: int, of: int) -> str:
    return (
        f"shard {shard}: {cells:,} of {counted(of, 'cell')}; split {shard.split}, "
        "which every shard of this matrix must show"
    )


def execute(
    prepared: Prepared,
    conclude: Callable[[str], None],
    say: datasets.Say = print,
    time_them: TimeThem = in_rounds,
) -> Outcome:
    """Run what was prepared; an interrupted run of the same identity is resumed.

    `conclude` is called with the run's id once all stages have ended, before the run counts as finished.
    """
    with closing(prepared.engine) if prepared.engine else nullcontext():
        return _execute(prepared, conclude, say, time_them)


def _execute(
    prepared: Prepared, conclude: Callable[[str], None], say: datasets.Say, time_them: TimeThem
) -> Outcome:
    results = prepared.options.results.resolve()
    said = list(prepared.notes)

    def tell(line: str) -> None:
        said.append(line)
        say(line)

    with alone_in(results), closing(Store.open(results, prepared.options.store)) as store:
        clear_unfinished(results)
        shutil.rmtree(results / WORK, ignore_errors=True)
        run_id = _start_or_resume(prepared, store, tell)
        with logged_to(results, run_id):
            _log_start(prepared, len(store.launch_results(run_id)), said)
            try:
                ok = _carry_out(prepared, store, run_id, conclude, say, time_them)
            except BaseException as error:
                _LOG.error("run %s stops: %s", run_id, first_line(error) or type(error).__name__)
                raise
            _LOG.info("run %s: finished, %s", run_id, "every stage ok" if ok else "some stages failed")
    return Outcome(run_id, ok)


def _log_start(prepared: Prepared, launches: int, said: list[str]) -> None:
    """Log the versions, the process, the command, the notes, and how many launches the run has already."""
    _LOG.info(
        "bench %s, Python %s, %s", version_of(DISTRIBUTION), platform.python_version(), platform.platform()
    )
    _LOG.info("pid %d: %s", os.getpid(), prepared.options.command)
    for line in said:
        logging.getLogger(SHOWN).info("%s", line)
    for name, host in prepared.engine.hosts().items() if prepared.engine else ():
        _LOG.info("%s is %s", name, host)
    _LOG.info("%s of this run in the store", counted(launches, "launch"))


def _carry_out(
    prepared: Prepared,
    store: Store,
    run_id: str,
    conclude: Callable[[str], None],
    say: datasets.Say,
    time_them: TimeThem,
) -> bool:
    """Run the stages of this run that are left; return whether every stage is ok."""
    results = prepared.options.results.resolve()
    stages = {stage.key: stage for stage in store.stages(run_id)}
    # The stored plan, since an interrupted run may have split a timing that was planned for all.
    prepared = replace(prepared, plan=replace(prepared.plan, stages=stages, cells=tuple(store.cells(run_id))))
    started_s = prepared.started_s or process_started_s()
    timeline = Timeline(started_s)
    job = Job(
        run_id,
        store,
        results,
        prepared.matrix.budget,
        prepared.resources,
        prepared.plugins,
        trusted=trust(prepared.options.trusted),
        smoke=prepared.options.smoke,
        rebuild=prepared.options.rebuild,
        exchange=Exchange(prepared.options.artifacts) if prepared.options.artifacts else None,
    )
    nodes = len(prepared.engine.nodes()) if prepared.engine else 1
    estimator = predict(job, list(stages.values()), also_logged(say), nodes)
    timeline.add_part(RUNNER, started_s, now_s())
    try:
        engine = prepared.engine or this_machine(job)
        ok = run_plan(job, prepared.plan, timeline, estimator, engine, time_them)
    finally:
        # First: on a full disk it makes room for what follows.
        shutil.rmtree(results / WORK, ignore_errors=True)
        clear_unfinished(results)
        for part, seconds in timeline.outside(now_s()).items():
            store.add_overhead(run_id, part, seconds)
    note_growth(job)
    started = time.perf_counter()
    conclude(run_id)
    store.add_overhead(run_id, REPORT, time.perf_counter() - started)
    store.finish_run(run_id)
    return ok


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


def _start_or_resume(prepared: Prepared, store: Store, say: datasets.Say) -> str:
    identity = prepared.identity
    unfinished = None if prepared.options.fresh else store.unfinished_run(identity)
    if unfinished is not None:
        changed = what_changed(store.modules(unfinished))
        if not changed:
            store.hold_run(unfinished)
            say(f"run {unfinished}: resumed")
            return unfinished
        say(f"run {unfinished} cannot be resumed, because {changed} changed; starting a new run")
    shard = prepared.shard
    part = f"-shard-{shard.number}-of-{shard.of}" if shard else ""
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{run_name(prepared.matrix.name)}{part}"
    request = {
        "filter": prepared.options.filter,
        "smoke": prepared.options.smoke,
        "shard": asdict(shard) if shard else None,
        "anew": prepared.options.rebuild,
        "plugins": prepared.plugins,
        "trusted": list(trust(prepared.options.trusted)),
        "budget": prepared.matrix.budget.model_dump(),
        **_reported_settings(prepared.matrix),
        "text": prepared.matrix.text,
        "notes": list(prepared.notes),
        "matrix_path": _path_of(prepared.options.matrix),
        "metrics": [metric.to_json() for metric in METRICS.added()],
    }
    plan = prepared.plan
    run_id = store.start_run(
        run_id,
        identity,
        prepared.options.matrix,
        prepared.options.command,
        request,
        list(plan.stages.values()),
        plan.cells,
        host=platform.node(),
    )
    say(f"run {run_id}: {counted(len(plan.cells), 'cell')}, {counted(len(plan.stages), 'stage')}")
    return run_id


def _reported_settings(matrix: Matrix) -> dict[str, Any]:
    """Return the settings that only the report uses; the run's record keeps them."""
    prices = matrix.prices.model_dump() if matrix.prices else None
    peaks = {device: peak.model_dump() for device, peak in matrix.peaks.items()}
    return {
        **{"prices": prices, "estimate": matrix.estimate.model_dump(), "peaks": peaks},
        "limits": [limit.to_json() for limit in matrix.limits],
    }


def _path_of(matrix: str) -> str:
    """Return where a matrix file of the user's own lies, empty for a shipped one."""
    return str(Path(matrix).resolve()) if matrix.endswith(".toml") else ""
