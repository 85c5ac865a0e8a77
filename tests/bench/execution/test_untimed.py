"""Untimed stages start as their parents end: side by side, or alone where their clock is a result."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

from bench.execution.untimed import Untimed
from bench.records import PlannedRequest, Request, Result
from bench.results import artifacts
from bench.results.store import StageRow
from tests.support.ledgers import EVALUATE, TRAIN, ledger_of


class Servers:
    """Stands in for fork servers: answers at once, and remembers what ran together."""

    alive = True

    def __init__(self) -> None:
        self.requests: list[Request[Any]] = []
        self.started = 0

    def start(self, stages: object, old: object = None) -> Servers:
        self.started += 1
        return self

    def stop(self, executor: object) -> None: ...

    def submit(self, request: Request[Any]) -> Future[Result]:
        self.requests.append(request)
        future: Future[Result] = Future()
        future.set_result(Result("ok"))
        return future


def test_a_stage_waits_for_its_parents_and_training_has_all_cores(tmp_path: Path) -> None:
    ledger, servers = ledger_of(tmp_path), Servers()
    Untimed(ledger, servers).run([EVALUATE, TRAIN])  # type: ignore[arg-type]
    assert [(request.kind, request.cpus) for request in servers.requests] == [
        ("train", (0, 1)),
        ("evaluate", (0,)),
    ]
    assert servers.started == 1


def test_an_artifact_that_is_there_is_taken_up_without_running(tmp_path: Path) -> None:
    with artifacts.writing(tmp_path, TRAIN.key) as folder:
        (folder / "weights").write_bytes(b"123")
        artifacts.publish(folder, tmp_path, TRAIN.key, artifacts.Making(kind="train", run_id="earlier"))
    ledger, servers = ledger_of(tmp_path), Servers()
    Untimed(ledger, servers).run([TRAIN])  # type: ignore[arg-type]
    assert servers.requests == [] and ledger.has_ended(TRAIN)
    assert bool(ledger.job.store.launches("run-1")["reused"].item())


def test_anew_makes_again_what_an_earlier_run_has_left(tmp_path: Path) -> None:
    with artifacts.writing(tmp_path, TRAIN.key) as folder:
        (folder / "weights").write_bytes(b"123")
        artifacts.publish(folder, tmp_path, TRAIN.key, artifacts.Making(kind="train", run_id="earlier"))
    ledger, servers = ledger_of(tmp_path, rebuild=True), Servers()
    Untimed(ledger, servers).run([TRAIN])  # type: ignore[arg-type]
    assert [request.kind for request in servers.requests] == ["train"]


def test_stages_of_the_cpu_run_side_by_side_one_core_each(tmp_path: Path) -> None:
    lowered = [StageRow(letter * 64, "lower", letter, False, (), PlannedRequest()) for letter in "de"]
    ledger, servers = ledger_of(tmp_path, lowered), Servers()
    Untimed(ledger, servers).run(lowered)  # type: ignore[arg-type]
    assert [request.cpus for request in servers.requests] == [(0,), (1,)]
