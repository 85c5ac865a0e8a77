"""Measures the candidates of a search by ordinary runs: stages are kept, shared and resumed.

A chunk of candidates on a rung is one matrix, in a file under the results folder; its name is a hash of its
content. So the same search asks for the same runs: one that has finished is read, one that was interrupted
goes on, and a rung takes up the artifacts of the one before.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.costs.timeline import now_s
from bench.errors import BenchError
from bench.execution.options import RunOptions
from bench.execution.preparation import Prepared, prepare
from bench.execution.session import execute
from bench.files import read_json, replace_file
from bench.identity.reuse import what_changed
from bench.metrics import metric_named
from bench.results.folder import refuse_links
from bench.results.store import Store
from bench.search.deadline import BudgetSpent, ending_after
from bench.search.goals import Answer, Problem
from bench.search.space import NONE, Candidate
from bench.search.strategy import Rung
from reports.frames.inference import REFERENCE_BACKEND, inference_table
from reports.frames.view import RunView, read, records

FOLDER = "searches"
"""Where the matrices of searches lie in a results folder."""

EVALUATED = 2000
"""Test samples of the first rung; of a smaller test set all."""

FIRST_SHARE = 0.6
"""The share of the budget after which the first rung ends, so that something is measured well."""

_RESERVE_SHARE, _MAX_RESERVE_S = 0.1, 10.0
"""What of the budget is kept to end a run and read what it has."""

_LAUNCH_ERROR = 0.15
"""How far one launch may be from the median of many, as a share: they differ more than its samples do."""

_TIMING = "timing: "


@dataclass
class Runs:
    """Measures candidates within a budget of seconds that began at `started_s` of `time.monotonic`.

    `workload`, `precision` and `batch_size` are those of every cell. `spent` says that the budget has ended a
    run; the same search goes on with it.
    """

    workload: str
    problem: Problem
    options: RunOptions
    budget_s: float
    precision: str = "fp32"
    batch_size: int = 1
    started_s: float = field(default_factory=time.monotonic)
    say: Callable[[str], None] = print
    spent: bool = False

    def has_time(self, rung: Rung) -> bool:
        """Say whether there is time left for a rung."""
        return self._left_s(rung) > 1.0

    def __call__(self, candidates: Sequence[Candidate], rung: Rung) -> Mapping[Candidate, Answer]:
        """Measure candidates in one run, or read the run that did; those without a launch are left out."""
        path = self._write(candidates, rung)
        options = replace(self.options, matrix=str(path), filter="", shard=None, workloads=())
        run_id: str | None
        try:
            with ending_after(self._left_s(rung)):
                run_id = self._finished(path, options)
        except BudgetSpent:
            self.spent = True
            run_id = self._interrupted(options)
        return {} if run_id is None else self._answers(run_id, candidates, rung)

    def _left_s(self, rung: Rung) -> float:
        reserve_s = min(_MAX_RESERVE_S, _RESERVE_SHARE * self.budget_s)
        end_s = self.budget_s * FIRST_SHARE if rung == "first" else self.budget_s - reserve_s
        return self.started_s + end_s - time.monotonic()

    def _write(self, candidates: Sequence[Candidate], rung: Rung) -> Path:
        text = matrix_text(self.workload, candidates, rung, self.precision, self.batch_size)
        name = f"compress-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        refuse_links(self.options.results, FOLDER, f"{FOLDER}/{name}.toml", f"{FOLDER}/{name}.json")
        path = self.options.results / FOLDER / f"{name}.toml"
        if not path.is_file() or path.read_text() != text:
            replace_file(path, text.encode())
        return path

    def _finished(self, path: Path, options: RunOptions) -> str:
        """Return the finished run of a matrix: that of an earlier search, or one that is run now."""
        asked_s = now_s()
        prepared = replace(prepare(options, say=self.say), started_s=asked_s)
        noted = path.with_suffix(".json")
        run_id = None if options.fresh else self._earlier(noted, prepared)
        if run_id is None:
            run_id = execute(prepared, lambda run_id: None, say=self.say).run_id
            note = {"identity": prepared.identity, "run": run_id}
            replace_file(noted, json.dumps(note).encode())
        elif prepared.engine is not None:
            prepared.engine.close()
        return run_id

    def _earlier(self, noted: Path, prepared: Prepared) -> str | None:
        """Return the finished run that would be the same now, None without one."""
        try:
            note = read_json(noted)
            run_id = str(note["run"]) if note["identity"] == prepared.identity else ""
        except (OSError, ValueError, LookupError, TypeError):
            return None
        store = Store.find(self.options.results, self.options.store)
        if store is None or not run_id:
            return None
        try:
            finished = store.run(store.find_run(run_id))["state"] == "finished"
            return run_id if finished and not what_changed(store.modules(run_id)) else None
        except BenchError:  # it was removed
            return None
        finally:
            store.close()

    def _interrupted(self, options: RunOptions) -> str | None:
        """Return the run that the budget ended, None where it had not begun."""
        store = Store.find(options.results, options.store)
        if store is None:
            return None
        try:
            runs = store.runs()
            own = runs[(runs["matrix"] == options.matrix) & (runs["state"] == "running")]
            return str(own["id"].iloc[-1]) if len(own) else None
        finally:
            store.close()

    def _answers(self, run_id: str, candidates: Sequence[Candidate], rung: Rung) -> dict[Candidate, Answer]:
        store = Store.open(self.options.results, self.options.store, create=False)
        view = read(store, run_id)
        store.close()
        rows = {(row["compression"], row["backend"]): row for row in records(inference_table(view))}
        found = {}
        for candidate in candidates:
            row = rows.get((candidate.compression, candidate.backend))
            if row is not None and row["state"] != "pending":
                found[candidate] = answer_of(view, row, self.problem, rung)
        return found


def matrix_text(
    workload: str, candidates: Iterable[Candidate], rung: Rung, precision: str, batch_size: int
) -> str:
    """Return the matrix of candidates on a rung: a cross for each backend, and one for the reference.

    Quality is lost to the uncompressed model in eager PyTorch, on the same samples.
    """
    by_backend: dict[str, list[str]] = {REFERENCE_BACKEND: [NONE]}
    for candidate in candidates:
        own = by_backend.setdefault(candidate.backend, [])
        if candidate.compression not in own:
            own.append(candidate.compression)
    budget = [f"max_launches = {1 if rung == 'first' else 10}"]
    budget += [f"evaluate_samples = {EVALUATED}"] if rung == "first" else ["max_repeats = 3"]
    lines = ['about = "Candidates of bench compress"', "", "[budget]", *budget]
    for backend, compressions in by_backend.items():
        lines += ["", "[[cross]]", "[cross.train]", f"workload = {_toml(workload)}", 'optimizer = "tuned"']
        lines += ["[cross.infer]", f"compression = {_toml(sorted(compressions))}"]
        lines += [f"backend = {_toml(backend)}", f"precision = {_toml(precision)}"]
        lines += [f"batch_size = {batch_size}"]
    return "\n".join([*lines, ""])


def _toml(value: str | list[str]) -> str:
    """Write a text or a list of texts as TOML has it, which reads JSON's."""
    return json.dumps(value)


def answer_of(view: RunView, row: Mapping[str, Any], problem: Problem, rung: Rung) -> Answer:
    """Return what a run found of a cell; a timing of few launches, or of disturbed ones, is in doubt."""
    state, why = str(row["state"]), str(row["reason"] or "")
    where: dict[str, Any] = {"run_id": str(view.run["id"]), "cell": str(row["cell"])}
    doubtful = state == "INVALID" and why.startswith(_TIMING)
    if state != "ok" and not doubtful:
        return Answer(reason=f"{state}: {why}" if why else state, **where)
    metrics = (*problem.metrics, "quality_loss_points")
    values = {metric: value_of(view, row, metric) for metric in metrics}
    lacking = [metric for metric in problem.metrics if values[metric] is None]
    if lacking:
        return Answer(reason=f"{lacking[0]} was not measured", **where)
    known = {metric: value for metric, value in values.items() if value is not None}
    doubt = why.removeprefix(_TIMING) if doubtful else ""
    return Answer(
        known,
        _errors(row, known) if rung == "first" else {},
        int(row["latency_launches"] or 0),
        doubt="one launch" if rung == "first" else doubt,
        **where,
    )


def value_of(view: RunView, row: Mapping[str, Any], metric: str) -> float | None:
    """Return a metric of a cell: of its row in the table of inference, else of the stage that measures it."""
    if row.get(metric) is not None:
        return float(row[metric])
    keys = (str(row[f"{kind}_key"] or "") for kind in ("infer", "evaluate", "lower"))
    return next((value for key in keys if (value := view.value(key, metric)) is not None), None)


def _errors(row: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, float]:
    """Return how far values of the first rung may be off: one launch, and a part of the test set.

    That of the quality lost is two standard errors of the answers that changed, as McNemar's test has them;
    that of a share of answers two of the share's own.
    """
    changed = [row["answers_lost"], row["answers_won"]]
    share = sum(changed) if None not in changed else 0.05
    errors = {metric: _LAUNCH_ERROR * abs(value) for metric, value in values.items() if metric.endswith("_s")}
    shares = {metric: min(1.0, max(0.0, value)) for metric, value in values.items() if _of_answers(metric)}
    errors |= {metric: 2 * math.sqrt(own * (1 - own) / EVALUATED) for metric, own in shares.items()}
    return {**errors, "quality_loss_points": 200 * math.sqrt(share / EVALUATED)}


def _of_answers(metric: str) -> bool:
    """Say whether a metric is a share of the test samples, or a quality that is as sure as one."""
    row = metric_named(metric)
    return row.unit == "share" and row.bounds == (0.0, 1.0) and row.stage in ("any", "evaluate")
