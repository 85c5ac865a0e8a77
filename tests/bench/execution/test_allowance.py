"""A time budget: what it has room for is answered, the most telling first, and it is kept."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.execution.engines.local import LocalEngine
from bench.execution.ledger import Ledger
from bench.execution.rounds import Rounds
from bench.execution.servers import Servers
from bench.execution.untimed import Untimed
from bench.records import Measurement, PlannedRequest, Request, Result
from bench.results.store import CellRow, StageRow
from tests.support.futures import done
from tests.support.ledgers import ledger_of

COMPRESSIONS = ("int8-dynamic", "none")
BACKENDS = ("slow", "fast")
BATCHES = (1, 32)
LOWERING_S = {"slow": 8.0, "fast": 2.0}
EVALUATION_S = 2.0
LAUNCH_S = 1.5


def key_of(kind: str, label: str) -> str:
    return f"{kind} {label}".encode().hex().ljust(64, "0")[:64]


def stage_of(kind: str, label: str, *parents: str) -> StageRow:
    settings = {"workload": "mine", "backend": label.rpartition("@")[2].partition(" ")[0]}
    request = PlannedRequest(settings, {f"parent {n}": key for n, key in enumerate(parents)})
    return StageRow(key_of(kind, label), kind, label, kind == "infer", parents, request)


def plan_of() -> tuple[list[StageRow], list[CellRow]]:
    """Return a model that is lowered, evaluated and timed in eight ways."""
    train = stage_of("train", "mine")
    stages, cells = [train], []
    for compression, backend, size in itertools.product(COMPRESSIONS, BACKENDS, BATCHES):
        name = f"{compression}@{backend} b{size}"
        lower = stage_of("lower", name, train.key)
        own = [lower, stage_of("evaluate", name, lower.key), stage_of("infer", name, lower.key)]
        axes = {"workload": "mine", "compression": compression, "backend": backend, "batch_size": size}
        cells.append(CellRow(name, axes, {stage.kind: stage.key for stage in [train, *own]}))
        stages += own
    return sorted(stages, key=lambda stage: "train lower evaluate infer".index(stage.kind)), cells


@dataclass
class Server:
    """Stands in for fork servers: stages take `factor` times what they are said to, by a clock of its own."""

    factor: float = 1.0
    disturbed: str = ""
    ran: list[tuple[str, str]] = field(default_factory=list)
    spent_s: float = 0.0
    longest_s: float = 0.0
    alive: bool = True
    end: str = ""
    ready: Future[None] = field(default_factory=lambda: done(None))

    def __call__(self, modules: object) -> Server:
        return self

    def close(self) -> None: ...

    def submit(self, request: Request[Any]) -> Future[Result]:
        backend = request.settings["backend"]
        seconds = {"train": 500.0, "lower": LOWERING_S.get(backend, 0.0), "evaluate": EVALUATION_S}
        wall_s = self.factor * seconds.get(request.kind, LAUNCH_S)
        if request.kind != "train":
            self.spent_s += wall_s / (1 if request.kind == "infer" else 2)
            self.longest_s = max(self.longest_s, wall_s)
        self.ran.append((request.kind, request.label))
        measured = [Measurement("latency_s", 1.0 + 0.3 * request.round)] if request.kind == "infer" else []
        dynamic = {"disturbed": self.disturbed}
        return done(Result("ok", wall_s=wall_s, measurements=tuple(measured), dynamic=dynamic))


def run(folder: Path, budget_s: float | None, server: Server) -> Ledger:
    stages, cells = plan_of()
    ledger = ledger_of(folder, stages, budget_s, cells)
    servers = Servers(LocalEngine(ledger.job.resources, server), ledger.timeline, print, kept=False)
    Untimed(ledger, servers).run([stage for stage in ledger.left() if not stage.timed])
    Rounds(ledger, servers).run()
    return ledger


def answered(ledger: Ledger) -> Mapping[str, int]:
    """Return how many launches each cell has that was timed."""
    names = {stage.key: stage.label for stage in ledger.stages.values() if stage.kind == "infer"}
    return {names[key]: count for key, count in ledger.launches.items() if count}


def reasons(ledger: Ledger) -> Counter[str]:
    return Counter(reason for reason in ledger.job.store.reasons("run-1").values() if reason)


@pytest.mark.parametrize("budget_s", [20.0, 30.0, 45.0, 60.0, 90.0])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_run_ends_inside_its_budget_within_the_length_of_a_stage(
    tmp_path: Path, budget_s: float, factor: float
) -> None:
    server = Server(factor)
    ledger = run(tmp_path, budget_s, server)
    # The first cell has its answer in any case.
    first_s = factor * ((LOWERING_S["fast"] + EVALUATION_S) / 2 + LAUNCH_S)
    assert server.spent_s <= max(budget_s, first_s) + server.longest_s
    assert not ledger.left() and ledger.ok and answered(ledger)


def test_what_tells_most_is_answered_first_and_the_rest_says_which_budget_it_needs(tmp_path: Path) -> None:
    ledger = run(tmp_path, 30.0, Server())
    found = answered(ledger)
    assert {"none@fast b1", "none@slow b1"} <= found.keys() and len(found) < 8
    (reason,) = reasons(ledger)
    assert reason.startswith("the time budget of 30 s has no room for it; about ")
    assert reason.endswith(" s (budget_s) would measure it too")


def test_every_cell_has_a_launch_before_any_has_more_on_a_busy_machine(tmp_path: Path) -> None:
    server = Server(disturbed="pressure")
    ledger = run(tmp_path, 40.0, server)
    launches = [label for kind, label in server.ran if kind == "infer"]
    assert set(launches[: len(set(launches))]) == answered(ledger).keys()


def test_the_budget_that_is_named_is_enough(tmp_path: Path) -> None:
    (reason,) = reasons(run(tmp_path / "small", 30.0, Server()))
    enough_s = float(reason.split("about ")[1].split()[0])
    ledger = run(tmp_path / "enough", enough_s, Server())
    assert len(answered(ledger)) == 8 and not reasons(ledger)


def test_without_a_budget_everything_is_trained_and_measured(
    tmp_path: Path,
) -> None:
    server = Server()
    ledger = run(tmp_path, None, server)
    assert len(answered(ledger)) == 8 and ("train", "mine") in server.ran
    assert min(answered(ledger).values()) > 1


def test_a_run_that_goes_on_knows_what_it_has_spent_and_begins_nothing_new(tmp_path: Path) -> None:
    first = run(tmp_path, 30.0, Server())
    stages, cells = plan_of()
    again = ledger_of(tmp_path, stages, 30.0, cells)
    again.remember()
    assert not again.left() and answered(again) == answered(first)


def test_an_artifact_that_is_there_leaves_room_for_more_cells(tmp_path: Path) -> None:
    from bench.results import artifacts

    few = answered(run(tmp_path / "none", 30.0, Server()))
    folder = tmp_path / "some"
    for stage in plan_of()[0]:
        if stage.kind == "lower":
            with artifacts.writing(folder, stage.key) as place:
                (place / "file").write_bytes(b"1")
                making = artifacts.Making(kind="lower", run_id="earlier")
                artifacts.publish(place, folder, stage.key, making)
    assert len(answered(run(folder, 30.0, Server()))) > len(few)


def stages_of(kinds: Sequence[str]) -> list[StageRow]:
    return [stage for stage in plan_of()[0] if stage.kind in kinds]


def test_a_smoke_run_has_no_budget(tmp_path: Path) -> None:
    stages, cells = plan_of()
    ledger = ledger_of(tmp_path, stages, 0.1, cells, smoke=True)
    ledger.spend(stages, 100.0)
    assert all(ledger.blocked(stage) is None for stage in stages_of(["lower"]))
