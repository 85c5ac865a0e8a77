"""Rounds of launches: what was disturbed is made again, a bounded number of times, and kept."""

from __future__ import annotations

import sqlite3
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from bench.costs import make_estimator
from bench.costs.timeline import Timeline, now_s
from bench.errors import BenchError
from bench.execution.engines.local import LocalEngine
from bench.execution.job import MIN_REPEATS, Job
from bench.execution.resources import find_resources
from bench.execution.runner import run_plan
from bench.matrix.file import Budget
from bench.plan.planner import Plan
from bench.records import Measurement, PlannedRequest, Request, Result
from bench.results.store import CellRow, StageRow, Store
from tests.support.futures import done

STAGE = StageRow("0" * 64, "infer", "dense", True, (), PlannedRequest(server_imports=("a_library",)))
CELL = CellRow("one", {}, {"infer": STAGE.key}, "")


class Launches:
    """Answers in place of worker processes: disturbed as often as told."""

    alive = True
    end = ""

    def __init__(self, disturbed: int, references: tuple[float, ...] = ()) -> None:
        self.left = disturbed
        self.references = iter(references)
        self.rounds: list[int] = []
        self.servers = 0
        self.ready = done(None)

    def __call__(self, *_: object) -> Launches:
        self.servers += 1
        return self

    def close(self) -> None: ...

    def submit(self, request: Request) -> Future[Result]:
        self.rounds.append(request.round)
        disturbed = "pressure" if self.left > 0 else ""
        self.left -= 1
        latency = Measurement("latency_s", 8.0 if disturbed else 1.0 + 0.001 * len(self.rounds))
        dynamic = {"disturbed": disturbed, "reference_s": next(self.references, None)}
        return done(Result("ok", measurements=(latency,), dynamic=dynamic))


def run(folder: Path, launches: Launches, max_repeats: int | None = None, ends_well: bool = True) -> Store:
    store = Store.open(folder)
    store.start_run("run-1", "identity", "m", "bench run", {}, [STAGE], [CELL])
    return go_on(store, folder, launches, max_repeats, ends_well)


def resume(folder: Path, launches: Launches) -> Store:
    return go_on(Store.open(folder), folder, launches)


def go_on(
    store: Store,
    folder: Path,
    launches: Launches,
    max_repeats: int | None = None,
    ends_well: bool = True,
) -> Store:
    plan = Plan({STAGE.key: STAGE}, (CELL,))
    estimator = make_estimator([STAGE], 1, 10, store, folder)
    budget = Budget(target_interval=0.05, max_launches=3, max_repeats=max_repeats)
    job = Job("run-1", store, folder, budget, find_resources(None))
    engine = LocalEngine(job.resources, launches)
    assert run_plan(job, plan, Timeline(now_s()), estimator, engine) == ends_well
    return store


def test_a_disturbed_launch_is_made_again_in_its_round_and_kept(tmp_path):
    launches = Launches(disturbed=1)
    store = run(tmp_path, launches)
    assert launches.rounds == [0, 1, 2, 3] and launches.servers == 3
    assert len(store.launches("run-1")) == 4
    assert max(store.launch_values("run-1", STAGE.key, "latency_s")) < 2
    store.close()


def test_a_machine_that_is_never_quiet_ends_too_with_one_line_a_round(tmp_path, capfd):
    launches = Launches(disturbed=10**6)
    store = run(tmp_path, launches)
    assert len(launches.rounds) == 3 + MIN_REPEATS
    lines = [line for line in capfd.readouterr().err.splitlines() if "disturbed" in line]
    assert lines == ["3 disturbed launches of 1 stage repeated (-v or run.log has the reasons)"] * (
        MIN_REPEATS // 3
    )
    store.close()


def test_a_budget_bounds_how_many_disturbed_launches_are_made_again(tmp_path):
    launches = Launches(disturbed=10**6)
    run(tmp_path, launches, max_repeats=1).close()
    assert len(launches.rounds) == 3 + 1


def test_launches_that_a_later_one_shows_to_be_disturbed_are_made_again(tmp_path):
    # The first two had a slow machine, which only the third one tells.
    launches = Launches(0, references=(1.5, 1.5, 1.0, 1.0, 1.0))
    store = run(tmp_path, launches)
    assert launches.rounds == [0, 1, 2, 3, 4]
    assert [bool(text) for text in store.launches("run-1")["disturbed"]] == [True, True, False, False, False]
    store.close()


def test_a_resumed_run_makes_again_what_was_disturbed_when_it_was_interrupted(tmp_path):
    class Interrupted(Launches):
        def submit(self, request: Request) -> Future[Result]:
            if len(self.rounds) == 2:
                raise KeyboardInterrupt
            return super().submit(request)

    first = Interrupted(0)
    first.left = 1
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, first)
    again = Launches(0)
    resume(tmp_path, again)
    assert first.rounds == [0, 1] and len(again.rounds) == 2


@pytest.mark.parametrize(
    "damage", ("wall_s = 'long'", "dynamic = '{'", "reason = CAST(x'fffe' AS TEXT)", "state = 'fine'")
)
def test_a_run_goes_on_and_a_new_one_starts_beside_a_record_that_cannot_be_read(tmp_path, damage):
    class Interrupted(Launches):
        def submit(self, request: Request) -> Future[Result]:
            if len(self.rounds) == 3:
                raise KeyboardInterrupt
            return super().submit(request)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupted(disturbed=1))
    connection = sqlite3.connect(tmp_path / "bench.sqlite")
    connection.execute(f"UPDATE launches SET {damage} WHERE id = 3")
    connection.commit()
    connection.close()
    again = Launches(0)
    store = resume(tmp_path, again)
    assert len(again.rounds) == 2
    assert len(store.launch_results("run-1")) == 4 and store.cost_history().launches_in_store == 5
    reasons = store.launches("run-1")["reason"]
    assert [reason[:26] for reason in reasons if reason] == ["its record cannot be read:"]
    store.close()


def test_a_module_that_is_edited_while_the_run_goes_on_fails_its_stage(tmp_path):
    class Edited(Launches):
        def submit(self, request: Request) -> Future[Result]:
            result = super().submit(request).result()
            digest = "old" if len(self.rounds) < 2 else "new"
            return done(replace(result, dynamic={**result.dynamic, "modules": {"mine.py": digest}}))

    store = run(tmp_path, Edited(0), ends_well=False)
    assert store.reasons("run-1")[STAGE.key] == "mine.py changed since the run began; start the run again"
    assert store.modules("run-1")["mine.py"] in ("old", "new")


def test_servers_that_end_before_they_are_ready_stop_the_run_with_one_line(tmp_path):
    class NeverReady(Launches):
        alive = False
        end = "was killed by SIGSEGV"
        imports: ClassVar[list[list[str]]] = []

        def __call__(self, imports: list[str]) -> Launches:
            self.imports.append(imports)
            return super().__call__()

    launches = NeverReady(0)
    with pytest.raises(BenchError, match="no fork server could be started: it was killed by SIGSEGV; run"):
        run(tmp_path, launches)
    # The last one tries it without the libraries that may have crashed it.
    assert launches.imports == [["a_library"], ["a_library"], ["a_library"], []]  # one for the next round
    assert launches.rounds == []


def test_a_launch_whose_server_is_killed_is_made_again_by_a_new_one_up_to_three_times(tmp_path):
    class Killed(Launches):
        def __call__(self, *_: object) -> Launches:
            self.alive = True
            return super().__call__()

        def submit(self, request: Request) -> Future[Result]:
            if len(self.rounds) not in self.moments:
                return super().submit(request)
            self.rounds.append(request.round)
            self.alive = False
            return done(Result("killed", "its fork server was killed by SIGKILL"))

        moments: tuple[int, ...] = (0, 2)

    launches = Killed(0)
    store = run(tmp_path / "twice", launches)
    assert launches.rounds == [0, 0, 1, 1, 2] and launches.servers >= 5
    assert Counter(store.launches("run-1")["state"]) == {"ok": 3, "killed": 2}
    store.close()

    Killed.moments = (0, 1, 2)
    launches = Killed(0)
    store = run(tmp_path / "always", launches, ends_well=False)
    assert launches.rounds == [0, 0, 0]
    assert set(store.launches("run-1")["state"]) == {"killed"}
    store.close()
