"""From a run that is ready to one that has ended: start or resume it, run its stages."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench import datasets
from bench.costs.timeline import REPORT, RUNNER, Timeline, now_s, process_started_s
from bench.digests import DISTRIBUTION, version_of
from bench.execution.engines.local import this_machine
from bench.execution.forecast import note_growth, predict
from bench.execution.job import Job
from bench.execution.preparation import Prepared, reported_settings
from bench.execution.run_log import SHOWN, also_logged, logged_to
from bench.execution.runner import TimeThem, in_rounds, run_plan
from bench.formatting import counted
from bench.identity.reuse import what_changed
from bench.metrics import METRICS
from bench.plugins import first_line
from bench.results.artifacts import clear_unfinished
from bench.results.exchange import Exchange
from bench.results.folder import WORK, alone_in, run_name
from bench.results.store import Store
from bench.workloads.trust import trust

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """A run that ended: its id, whether every stage of it is ok."""

    run_id: str
    ok: bool


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
        "workloads": list(prepared.options.workloads),
        "smoke": prepared.options.smoke,
        "shard": asdict(shard) if shard else None,
        "anew": prepared.options.rebuild,
        "plugins": prepared.plugins,
        "trusted": list(trust(prepared.options.trusted)),
        "budget": prepared.matrix.budget.model_dump(),
        **reported_settings(prepared.matrix),
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


def _path_of(matrix: str) -> str:
    """Return where a matrix file of the user's own lies, empty for a shipped one."""
    return str(Path(matrix).resolve()) if matrix.endswith(".toml") else ""
