"""Places of a cluster: an agent that ends, is refused or fails costs its node, and no run that has others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.execution.engines.cluster import MAX_ENDS, MAX_ENDS_ALONE, REFUSED_S, ClusterEngine
from bench.execution.ledger import MAX_KILLS
from bench.execution.rounds import Rounds
from bench.execution.servers import Servers
from bench.records import PlannedRequest, Request, Result, as_json
from bench.results.store import StageRow
from tests.support.agents import Channel, answer
from tests.support.ledgers import ledger_of

REQUEST: Request[Any] = Request(
    *("evaluate", "a" * 64, "net @ cpu", {}, {}, {}, (), "results", "run-1", 0, "cpu", 1),
    *((0,), 2**30, 60.0),
)


class Clock:
    """Goes on while somebody sleeps, and by `step_s` with each look at it."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s, self.step_s = 1000.0, step_s
        self.due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s

    def at(self, seconds: float, happens: Callable[[], None]) -> None:
        self.due.append((seconds, happens))

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds
        while self.due and self.due[0][0] <= self.now_s:
            self.due.pop(0)[1]()


class Agents(Channel):
    """Stands in for an agent, which ends at a request of a stage in `kills`."""

    def __init__(self, says: dict[str, Any] | None, kills: Collection[str] = ()) -> None:
        told = {} if says is None else {"describe": says}
        ok = {"result": as_json(Result("ok", dynamic={"disturbed": ""})), "end": ""}
        super().__init__(start={"server": 0, "end": ""}, run=ok, stop={}, **told)
        self.kills = kills

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        if what == "run" and arguments["request"]["label"] in self.kills:
            self.end = "it was killed"
            what = "die"
        return super().call(what, arguments)


class Queued(Channel):
    """Stands in for an agent that waits in a queue until it `says` something."""

    def __init__(self, says: Future[dict[str, Any]]) -> None:
        super().__init__()
        self.says = says

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        return self.says


class Cluster:
    """Stands in for a cluster: `says` is what agents say at a place, None where they end before."""

    def __init__(self, *places: str, grows: bool = True) -> None:
        self.grows = grows
        self.says: dict[str, dict[str, Any] | None] = {place: answer() for place in places}
        self.refuses: dict[str, str] = {}
        self.queued: dict[str, Future[dict[str, Any]]] = {}
        self.kills: set[str] = set()
        self.agents: dict[str, Channel] = {}
        self.starts: list[str] = []
        self.looks = 0
        self.closed: Collection[Any] = ()

    def look(self) -> Mapping[str, str]:
        self.looks += 1
        return {place: f"host of {place}" for place in self.says}

    def start(self, place: str) -> Channel:
        self.starts.append(place)
        if place in self.refuses:
            raise BenchError(self.refuses[place])
        queued = self.queued.get(place)
        self.agents[place] = Queued(queued) if queued else Agents(self.says[place], self.kills)
        return self.agents[place]

    def waiting_for(self) -> str:
        return "a node"

    def close(self, channels: Collection[Any]) -> None:
        self.closed = channels

    def end(self, place: str, how: str = "its job ended") -> None:
        self.agents[place].end = how


class Run:
    """An engine on a cluster, its clock, and what it said as it waited for nodes."""

    def __init__(self, cluster: Cluster, clock: Clock | None = None) -> None:
        self.cluster, self.clock = cluster, clock or Clock()
        self.said: list[str] = []
        self.engine = ClusterEngine(cluster, self.said.append, self.clock, self.clock.sleep)

    def hosts(self, after_s: float = 6.0) -> list[str]:
        """Return the places that have nodes some seconds later."""
        self.clock.sleep(after_s)
        self.engine.nodes()
        self.engine.nodes()
        return sorted(host.removeprefix("host of ") for host in self.engine.hosts().values())


def test_a_place_whose_agent_is_refused_waits_and_the_others_work() -> None:
    run = Run(Cluster("a", "b", grows=False))
    run.cluster.refuses["b"] = "--engine slurm: QOSMaxSubmitJobPerUserLimit"
    run.cluster.end("b")
    assert run.hosts() == ["a"] and run.hosts(600.0) == ["a"]
    del run.cluster.refuses["b"]
    assert run.hosts(31.0) == ["a", "b"]


def test_a_place_that_is_refused_for_an_hour_is_given_up_and_its_reason_ends_a_run_without_nodes() -> None:
    run = Run(Cluster("a", "b", grows=False))
    run.cluster.refuses = dict.fromkeys("ab", "--engine slurm: the account has expired")
    run.cluster.end("b")
    assert run.hosts() == ["a"] and run.hosts(REFUSED_S) == ["a"]
    before = len(run.cluster.starts)
    assert run.hosts(REFUSED_S) == ["a"] and len(run.cluster.starts) == before
    run.cluster.end("a")
    assert run.hosts() == []
    with pytest.raises(BenchError, match="no node is left: --engine slurm: the account has expired; run"):
        run.hosts(REFUSED_S)


def test_a_cluster_that_takes_no_agent_at_all_ends_the_run_with_its_words() -> None:
    cluster = Cluster("a", "b", grows=False)
    cluster.refuses = dict.fromkeys("ab", "--engine slurm: invalid partition")
    with pytest.raises(BenchError, match=r"^--engine slurm: invalid partition$"):
        Run(cluster)


def test_a_full_queue_at_the_start_costs_a_node_and_is_said() -> None:
    cluster = Cluster("a", "b", grows=False)
    cluster.refuses["b"] = "--engine slurm: the queue is full"
    run = Run(cluster)
    assert run.said == ["1 node less for now: --engine slurm: the queue is full"] and run.hosts() == ["a"]


def test_an_agent_that_ends_is_replaced_and_one_that_ends_before_it_has_answered_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A library that configures logging may have disabled loggers, or all of them, or raised a level.
    logger = logging.getLogger("bench.execution.engines.cluster")
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    caplog.set_level(logging.WARNING, logger.name)
    run = Run(Cluster("a", "b"))
    run.cluster.says["b"] = None
    run.cluster.end("b", "Ray says ActorDiedError")
    assert run.hosts() == ["a"]
    assert "host of b: its agent ended: no answer" in caplog.text
    run.cluster.says["b"] = answer()
    assert run.hosts() == ["a", "b"]


def test_an_agent_that_fails_to_describe_its_node_is_replaced() -> None:
    cluster = Cluster("a", "b")
    cluster.says["b"] = {"fault": "OSError: no space left for /tmp/bench-node"}
    run = Run(cluster)
    assert run.said == ["1 node cannot take part: OSError: no space left for /tmp/bench-node"]
    cluster.says["b"] = answer()
    assert run.hosts() == ["a", "b"]


def test_the_end_of_the_first_agent_does_not_end_a_run_whose_other_agents_wait_in_the_queue() -> None:
    cluster = Cluster("a", "b", grows=False)
    cluster.says["a"] = None
    cluster.queued["b"] = Future()
    clock = Clock()
    clock.at(1100.0, lambda: cluster.queued["b"].set_result(answer()))
    run = Run(cluster, clock)
    assert run.said == ["waiting for a node", "1 node cannot take part: no answer"]
    assert run.hosts() == ["b"]


def test_a_place_that_keeps_losing_agents_is_left_out_while_others_work_and_tried_again_without_them() -> (
    None
):
    run = Run(Cluster("a", "b"))
    for _ in range(MAX_ENDS):
        assert run.hosts() == ["a", "b"]
        run.cluster.end("b")
    assert run.hosts() == ["a"] and run.hosts(1000.0) == ["a"]
    run.cluster.says.pop("a")
    assert run.hosts() == ["b"]


def test_the_only_place_is_given_up_after_more_agents_than_one_stage_can_end() -> None:
    run = Run(Cluster("a"))
    for _ in range(MAX_ENDS_ALONE - 1):
        run.cluster.end("a", "Ray says OutOfMemoryError")
        assert run.hosts() == ["a"]
    run.cluster.end("a", "Ray says OutOfMemoryError")
    with pytest.raises(BenchError, match="no node is left: Ray says OutOfMemoryError; run the same command"):
        run.hosts()


def test_agents_that_have_answered_a_request_before_they_end_are_replaced_again_and_again() -> None:
    run = Run(Cluster("a"))
    for _ in range(2 * MAX_ENDS_ALONE):
        (node,) = run.engine.nodes()
        assert run.engine.start(node, []).submit(REQUEST).result().state == "ok"
        run.cluster.end("a", "its time limit")
        assert run.hosts() == ["a"]


@pytest.mark.parametrize("grows", [True, False], ids=["Ray", "Slurm"])
def test_the_only_node_runs_the_rest_after_stages_that_kill_its_agent_each_time(
    tmp_path: Path, grows: bool
) -> None:
    cluster = Cluster("a", grows=grows)
    cluster.kills = {"int8", "pruned"}
    run = Run(cluster, Clock(step_s=6.0))
    keys = {label: f"{number:064x}" for number, label in enumerate(("int8", "pruned", "dense"))}
    stages = [StageRow(key, "infer", label, True, (), PlannedRequest()) for label, key in keys.items()]
    ledger = ledger_of(tmp_path, stages, smoke=True)
    Rounds(ledger, Servers(run.engine, ledger.timeline, print, kept=True)).run()
    launches = ledger.job.store.launches("run-1")
    found = Counter(zip(launches["stage_key"], launches["state"], strict=True))
    lost = {(keys[label], "killed"): MAX_KILLS for label in ("int8", "pruned")}
    assert found == {**lost, (keys["dense"], "ok"): 1} and not ledger.ok


def test_a_node_where_no_server_starts_is_tried_again_and_its_reason_ends_a_run_without_others() -> None:
    run = Run(Cluster("a"))
    for _ in range(MAX_ENDS_ALONE - 1):
        (node,) = run.engine.nodes()
        run.engine.give_up(node, "was killed by SIGSEGV")
        assert run.hosts() == ["a"]
    run.engine.give_up(run.engine.nodes()[0], "was killed by SIGSEGV")
    with pytest.raises(BenchError, match="no fork server could be started there: it was killed by SIGSEGV"):
        run.hosts()


def test_places_come_and_go() -> None:
    run = Run(Cluster("a"))
    run.cluster.says["b"] = answer()
    assert run.hosts() == ["a", "b"]
    run.cluster.says.clear()
    assert run.hosts() == []
    assert run.hosts() == [], "a cluster that grows may have a node again"
    run.cluster.says["c"] = answer()
    assert run.hosts() == ["c"]


def test_a_cluster_without_a_place_is_looked_at_every_few_seconds_until_one_comes() -> None:
    cluster, clock = Cluster(), Clock()
    clock.at(1060.0, lambda: cluster.says.update(a=answer()))
    run = Run(cluster, clock)
    assert run.said == ["waiting for a node"] and len(run.engine.nodes()) == 1
    assert cluster.looks < 20


def test_nodes_of_another_kind_and_nodes_with_a_problem_are_told_apart() -> None:
    cluster = Cluster("a", "b", "c", "d")
    cluster.says |= {
        "b": answer("old", 1),
        "c": answer("old", 1),
        "d": answer(problem="it has another version"),
    }
    run = Run(cluster)
    assert run.said == [
        "2 nodes of another kind cannot take part: a run's timings are of one kind of node",
        "1 node cannot take part: it has another version",
    ]
    assert run.hosts() == ["a"] and sorted(cluster.starts) == ["a", "b", "c", "d"]
    assert [cluster.agents[place].closed for place in "abcd"] == [False, True, True, True]


def test_nodes_that_share_their_cores_are_said_to_stand_by() -> None:
    cluster = Cluster("a", "b")
    cluster.says = {place: answer(cores=2, machine="one") for place in "ab"}
    run = Run(cluster)
    assert run.said == ["1 node must stand by: another node of the same machine has the cores"]
    assert run.hosts() == ["a"]
    run.cluster.end("a")
    assert run.hosts() == ["b"]


def test_without_a_fit_node_the_run_ends_with_the_reason() -> None:
    cluster = Cluster("a")
    cluster.says["a"] = answer(problem="it does not see the folder /home/me")
    with pytest.raises(BenchError, match=r"^no node can take part: it does not see the folder /home/me$"):
        Run(cluster)
    assert len(cluster.closed) == 0, "it was closed as it was left out"


def test_its_end_closes_every_agent() -> None:
    run = Run(Cluster("a", "b"))
    run.engine.close()
    assert set(run.cluster.closed) == set(run.cluster.agents.values())
