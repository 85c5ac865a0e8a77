"""Rounds on several nodes: each runs on one of them, alone, and stages that are compared share its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import pytest

from bench.execution.engines.engine import Node
from bench.execution.ledger import Ledger
from bench.execution.resources import Resources
from bench.execution.rounds import Rounds
from bench.execution.servers import Servers
from bench.execution.untimed import Untimed
from bench.records import Measurement, PlannedRequest, Request, Result
from bench.results.store import StageRow
from tests.support.futures import done
from tests.support.ledgers import ledger_of


class Cluster:
    """Stands in for nodes, which run requests in threads; remembers which started where, in order."""

    def __init__(self, *names: str, cores: int = 1) -> None:
        self.alive = {name: Node(name, "kind", Resources(tuple(range(cores)), 2**30)) for name in names}
        self.ran: list[tuple[str, str, int]] = []
        self.started: list[int] = []  # how many launches had run as each server started
        self.together: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.lost_by: dict[str, str] = {}
        self.without_servers: set[str] = set()
        self.lock = Lock()
        self.meeting: Barrier | None = None  # of requests that run at the same time
        self.pool = ThreadPoolExecutor(16)

    def nodes(self) -> Sequence[Node]:
        return list(self.alive.values())

    def waiting_for(self) -> str:
        return "a node"

    def devices(self) -> dict[str, str]:
        return {}

    def obstacles(self) -> dict[str, Any]:
        return {}

    def hosts(self) -> dict[str, str]:
        return {}

    def start(self, node: Node, modules: Sequence[str]) -> Any:
        self.started.append(len(self.ran))
        return Server(self, node.name)

    def give_up(self, node: Node, why: str) -> None:
        del self.alive[node.name]

    def close(self) -> None: ...


class Server:
    def __init__(self, cluster: Cluster, node: str) -> None:
        self.cluster, self.node, self.ready = cluster, node, done(None)

    @property
    def alive(self) -> bool:
        return self.node in self.cluster.alive and self.node not in self.cluster.without_servers

    @property
    def end(self) -> str:
        return "" if self.alive else "its node was lost"

    def close(self) -> None: ...

    def submit(self, request: Request[Any]) -> Future[Result]:
        return self.cluster.pool.submit(self._run, request)

    def _run(self, request: Request[Any]) -> Result:
        cluster = self.cluster
        with cluster.lock:
            cluster.ran.append((self.node, request.label, request.round))
            cluster.together[self.node] += 1
            cluster.most[self.node] = max(cluster.most[self.node], cluster.together[self.node])
        if self.cluster.meeting is not None:
            self.cluster.meeting.wait(timeout=60)
        with cluster.lock:
            cluster.together[self.node] -= 1
            if cluster.lost_by.get(self.node) == request.label:
                cluster.alive.pop(self.node, None)
            if self.node not in cluster.alive:
                return Result("killed", f"its node {self.node} was lost")
        measured = Measurement(
            "latency_s", 1.0 + 0.2 * request.round
        )  # too wide for any interval but the last
        return Result("ok", measurements=(measured,), dynamic={"node": self.node})


def timed(*labels: str) -> list[StageRow]:
    keys = {label: f"{number:064x}" for number, label in enumerate(labels)}
    return [StageRow(key, "infer", label, True, (), PlannedRequest()) for label, key in keys.items()]


def servers_of(ledger: Ledger, cluster: Cluster) -> Servers:
    return Servers(cluster, ledger.timeline, print, kept=ledger.job.smoke)


def launch(folder: Path, cluster: Cluster, stages: Sequence[StageRow], **options: Any) -> Ledger:
    ledger = ledger_of(folder, stages, **options)
    Rounds(ledger, servers_of(ledger, cluster)).run()
    return ledger


def test_stages_have_as_many_launches_on_each_node_and_nothing_runs_next_to_one(tmp_path: Path) -> None:
    cluster = Cluster("one", "two")
    ledger = launch(tmp_path, cluster, timed("dense", "pruned", "int8"))
    on_nodes = [
        Counter(node for node, ran, _ in cluster.ran if ran == label) for label in ("dense", "pruned", "int8")
    ]
    assert on_nodes[0] == on_nodes[1] == on_nodes[2] and on_nodes[0].keys() == {"one", "two"}
    assert set(cluster.most.values()) == {1}
    assert ledger.launches == {stage.key: 10 for stage in ledger.stages.values()}


def test_the_first_round_ends_before_the_second_starts_and_a_look_before_what_it_may_spare(
    tmp_path: Path,
) -> None:
    cluster = Cluster("one", "two", "three")
    launch(tmp_path, cluster, timed("dense", "pruned"))
    numbers = [number for _, _, number in cluster.ran]
    for look in (1, 3, 6):
        before = [place for place, number in enumerate(numbers) if number < look]
        assert max(before) < min(place for place, number in enumerate(numbers) if number >= look)


def test_short_rounds_that_are_certain_start_their_servers_side_by_side_on_idle_cores(tmp_path: Path) -> None:
    cluster = Cluster("one", cores=2)
    launch(tmp_path, cluster, timed("dense"))
    assert cluster.started == [0, 0, 2, 3, 3, 5, 6, 6, 8, 8]


def test_long_rounds_start_one_server_each(tmp_path: Path) -> None:
    cluster = Cluster("one", cores=2)
    launch(tmp_path, cluster, timed(*"abcdefghi"))
    assert cluster.started == [9 * number for number in range(10)]


def test_a_smoke_run_spreads_its_launches_over_all_nodes(tmp_path: Path) -> None:
    cluster = Cluster("one", "two")
    launch(tmp_path, cluster, timed(*"abcdefgh"), smoke=True)
    assert Counter(label for _, label, _ in cluster.ran) == Counter("abcdefgh")
    assert {node for node, _, _ in cluster.ran} == {"one", "two"}


def test_what_a_lost_node_left_is_launched_on_another(tmp_path: Path) -> None:
    cluster = Cluster("one", "two")
    cluster.lost_by = {"one": "pruned"}
    ledger = launch(tmp_path, cluster, timed("dense", "pruned", "int8"))
    assert ledger.ok and list(cluster.alive) == ["two"]
    launches = ledger.job.store.launches("run-1")
    assert Counter(launches["state"]) == {"ok": 30, "killed": 1}
    good = launches[launches["state"] == "ok"]
    assert sorted(good["round"]) == sorted(
        [*range(10)] * 3
    )  # the first has every pass, so its number is used


def test_a_run_does_without_a_node_where_no_server_starts(tmp_path: Path) -> None:
    untimed = StageRow("f" * 64, "lower", "net", False, (), PlannedRequest())
    stages = [untimed, *timed("dense", "pruned")]
    cluster = Cluster("one", "two")
    cluster.without_servers = {"one"}
    ledger = ledger_of(tmp_path, stages)
    Untimed(ledger, servers_of(ledger, cluster)).run([untimed])
    cluster.alive["one"] = Node("one", "kind", Resources((0,), 2**30))  # it is tried again
    Rounds(ledger, servers_of(ledger, cluster)).run()
    assert ledger.ok and {node for node, _, _ in cluster.ran} == {"two"} and list(cluster.alive) == ["two"]


def test_a_stage_that_loses_three_nodes_is_recorded_and_the_run_goes_on(tmp_path: Path) -> None:
    cluster = Cluster("one", "two", "three", "four")
    cluster.lost_by = dict.fromkeys(("one", "two", "three", "four"), "int8")
    ledger = launch(tmp_path, cluster, timed("int8", "dense"), smoke=True)
    assert not ledger.ok
    reasons = ledger.job.store.reasons("run-1")
    assert reasons["0" * 64].startswith("its node ") and reasons[f"{1:064x}"] == ""


def test_untimed_stages_spread_over_the_cores_of_all_nodes(tmp_path: Path) -> None:
    stages = [replace(stage, kind="lower", timed=False) for stage in timed(*"abcdefgh")]
    cluster = Cluster("one", "two", cores=2)
    cluster.meeting = Barrier(4)
    ledger = ledger_of(tmp_path, stages)
    Untimed(ledger, servers_of(ledger, cluster)).run(stages)
    assert ledger.ok and cluster.most == {"one": 2, "two": 2}


def test_training_has_a_node_alone_while_another_node_works(tmp_path: Path) -> None:
    trainings = [replace(stage, kind="train", timed=False) for stage in timed(*"abcd")]
    cluster = Cluster("one", "two", cores=2)
    cluster.meeting = Barrier(2)
    ledger = ledger_of(tmp_path, trainings)
    Untimed(ledger, servers_of(ledger, cluster)).run(trainings)
    assert ledger.ok and cluster.most == {"one": 1, "two": 1}


@pytest.mark.parametrize("left", (("two",), ("one", "two", "three")))
def test_nodes_may_come_and_go_while_untimed_stages_run(tmp_path: Path, left: tuple[str, ...]) -> None:
    stages = [replace(stage, kind="lower", timed=False) for stage in timed(*"abcdefgh")]
    cluster = Cluster("one", *left)
    cluster.lost_by = {"one": "c", "two": "c"} if len(left) > 1 else {"one": "a"}
    ledger = ledger_of(tmp_path, stages)
    Untimed(ledger, servers_of(ledger, cluster)).run(stages)
    assert ledger.ok
