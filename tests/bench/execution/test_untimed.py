"""Untimed stages start as their parents end: side by side, or alone where their clock is a result."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from bench.analysis.statistics import LOOKS
from bench.execution.engines.engine import Node
from bench.execution.engines.local import LocalEngine
from bench.execution.ledger import Ledger
from bench.execution.resources import Resources
from bench.execution.servers import Servers
from bench.execution.untimed import Untimed
from bench.records import PlannedRequest, Request, Result
from bench.results import artifacts
from bench.results.store import StageRow
from tests.support.futures import done
from tests.support.ledgers import EVALUATE, TRAIN, ledger_of


class Server:
    """Stands in for fork servers: answers at once, and remembers what ran together."""

    alive = True
    end = ""

    def __init__(self) -> None:
        self.requests: list[Request[Any]] = []
        self.started = 0
        self.ready = done(None)

    def __call__(self, modules: object) -> Server:
        self.started += 1
        return self

    def close(self) -> None: ...

    def submit(self, request: Request[Any]) -> Future[Result]:
        self.requests.append(request)
        return done(Result("ok"))


def run(ledger: Ledger, server: Server, stages: Sequence[StageRow]) -> None:
    engine = LocalEngine(ledger.job.resources, server)
    Untimed(ledger, Servers(engine, ledger.timeline, print, kept=False)).run(stages)


def test_a_stage_waits_for_its_parents_and_training_has_all_cores(tmp_path: Path) -> None:
    ledger, server = ledger_of(tmp_path, [TRAIN, EVALUATE]), Server()
    run(ledger, server, [EVALUATE, TRAIN])
    assert [(request.kind, request.cpus) for request in server.requests] == [
        ("train", (0, 1)),
        ("evaluate", (0,)),
    ]
    assert server.started == 1


def test_an_artifact_that_is_there_is_taken_up_without_running(tmp_path: Path) -> None:
    with artifacts.writing(tmp_path, TRAIN.key) as folder:
        (folder / "weights").write_bytes(b"123")
        artifacts.publish(folder, tmp_path, TRAIN.key, artifacts.Making(kind="train", run_id="earlier"))
    ledger, server = ledger_of(tmp_path), Server()
    run(ledger, server, [TRAIN])
    assert server.requests == [] and ledger.has_ended(TRAIN)
    assert bool(ledger.job.store.launches("run-1")["reused"].item())


def test_anew_makes_again_what_an_earlier_run_has_left(tmp_path: Path) -> None:
    with artifacts.writing(tmp_path, TRAIN.key) as folder:
        (folder / "weights").write_bytes(b"123")
        artifacts.publish(folder, tmp_path, TRAIN.key, artifacts.Making(kind="train", run_id="earlier"))
    ledger, server = ledger_of(tmp_path, rebuild=True), Server()
    run(ledger, server, [TRAIN])
    assert [request.kind for request in server.requests] == ["train"]


def test_ceilings_are_measured_once_a_day_unless_a_run_is_smoke_or_rebuilds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    ceilings = StageRow("f" * 64, "ceilings", "ceilings of cpu", False, (), PlannedRequest())

    def measured(name: str, **options: bool) -> bool:
        folder, server = tmp_path / name, Server()
        folder.mkdir()
        ledger = ledger_of(folder, [ceilings], **options)
        run(ledger, server, [ceilings])
        assert ledger.has_ended(ceilings)
        assert bool(ledger.job.store.launches("run-1")["reused"].item()) == (not server.requests)
        return bool(server.requests)

    assert measured("smoke", smoke=True) and measured("first")
    assert not measured("second")
    assert measured("third", rebuild=True)


class OneNode(LocalEngine):
    """Stands in for a cluster of one node, on some machine."""

    def __init__(self, machine: str, server: Server) -> None:
        super().__init__(Resources((0, 1), 2**30), server)
        self.machine = machine

    def nodes(self) -> Sequence[Node]:
        return [Node("node-1", "kind", Resources((0, 1), 2**30), self.machine)]


def test_ceilings_are_measured_once_a_day_on_each_machine_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    ceilings = StageRow("f" * 64, "ceilings", "ceilings of cpu", False, (), PlannedRequest())

    def measured(name: str, machine: str) -> bool:
        folder, server = tmp_path / name, Server()
        folder.mkdir()
        ledger = ledger_of(folder, [ceilings])
        servers = Servers(OneNode(machine, server), ledger.timeline, print, kept=False)
        Untimed(ledger, servers).run([ceilings])
        return bool(server.requests)

    assert measured("first", "machine-1") and measured("second", "machine-2")
    assert not measured("third", "machine-1")


def test_stages_of_the_cpu_run_side_by_side_one_core_each(tmp_path: Path) -> None:
    lowered = [StageRow(letter * 64, "lower", letter, False, (), PlannedRequest()) for letter in "de"]
    ledger, server = ledger_of(tmp_path, lowered), Server()
    run(ledger, server, lowered)
    assert [request.cpus for request in server.requests] == [(0,), (1,)]


def test_idle_cores_start_the_servers_of_the_first_rounds_beside_what_is_not_timed(tmp_path: Path) -> None:
    lowered = StageRow("d" * 64, "lower", "d", False, (), PlannedRequest())
    timed = StageRow("e" * 64, "infer", "e", True, (lowered.key,), PlannedRequest())

    def started(name: str, stages: Sequence[StageRow], **options: bool) -> int:
        (tmp_path / name).mkdir()
        ledger, server = ledger_of(tmp_path / name, stages, **options), Server()
        run(ledger, server, [stage for stage in stages if not stage.timed])
        return server.started

    assert started("few", [lowered, timed]) == LOOKS[0]
    assert started("smoke", [lowered, timed], smoke=True) == 1
    assert started("nothing timed", [lowered]) == 1
    assert started("clocked", [TRAIN, timed]) == 2, "beside the first server, before anything is clocked"


def test_with_many_stages_left_and_no_idle_core_no_server_waits_for_a_round(tmp_path: Path) -> None:
    lowered = [StageRow(f"{number:064d}", "lower", "d", False, (), PlannedRequest()) for number in range(41)]
    timed = StageRow("e" * 64, "infer", "e", True, (), PlannedRequest())
    ledger, server = ledger_of(tmp_path, [*lowered, timed]), Server()
    counts = []
    submit = server.submit

    def counted(request: Request[Any]) -> Future[Result]:
        counts.append(server.started)
        return submit(request)

    server.submit = counted  # type: ignore[method-assign]
    run(ledger, server, lowered)
    assert counts[:20] == [1] * 20 and server.started > 1
