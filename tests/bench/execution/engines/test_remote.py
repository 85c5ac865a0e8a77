"""Nodes of a cluster as the runner sees them: one kind, tags without hosts, and what a lost one leaves."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from bench.execution.engines.remote import NodeLost, RemoteExecutor, RemoteNode, RemoteNodes
from bench.records import Request, Result, as_json
from techniques.registry import Obstacle
from tests.support.futures import done

REQUEST: Request[Any] = Request(
    *("evaluate", "a" * 64, "net @ cpu", {}, {}, {}, (), "results", "run-1", 0, "cpu", 1),
    *((0,), 2**30, 60.0),
)


class Channel:
    """Answers calls as it is told; a call that has no answer finds that the node is lost."""

    def __init__(self, **answers: dict[str, Any]) -> None:
        self.answers = answers
        self.calls: list[str] = []
        self.closed = False

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        self.calls.append(what)
        if what in self.answers:
            return done(self.answers[what])
        lost: Future[dict[str, Any]] = Future()
        lost.set_exception(NodeLost("no answer"))
        return lost

    def close(self) -> None:
        self.closed = True


OBSTACLES = {"cpu-eager": None, "openvino": ["no OpenVINO", "pip install openvino", ""]}


def answer(kind: str = "kind", cores: int = 2, accelerators: int = 0, problem: str = "") -> dict[str, Any]:
    return {
        **{"kind": kind, "cpus": list(range(cores)), "memory_bytes": 2**30, "accelerators": accelerators},
        **{"devices": {"cpu": f"cpu: {kind}"}, "problem": problem, "obstacles": OBSTACLES},
    }


def nodes_of(*answers: dict[str, Any]) -> tuple[RemoteNodes, list[RemoteNode]]:
    nodes = RemoteNodes()
    nodes.choose_kind(answers)
    added = [nodes.add(Channel(), each, f"host-{place}") for place, each in enumerate(answers)]
    return nodes, [remote for remote in added if remote is not None]


def test_the_kind_with_the_most_cores_takes_part_and_its_devices_are_in_keys() -> None:
    nodes, _ = nodes_of(answer("old", 8), answer("new", 4), answer("new", 6))
    assert nodes.kind == "new" and [len(remote.node.resources.cpus) for remote in nodes.alive()] == [4, 6]
    assert nodes.devices == {"cpu": "cpu: new"}
    assert nodes.obstacles == {"cpu-eager": None, "openvino": Obstacle("no OpenVINO", "pip install openvino")}


def test_a_kind_with_accelerators_goes_before_one_with_more_cores() -> None:
    nodes, _ = nodes_of(answer("cores", 64), answer("boards", 8, accelerators=2))
    assert nodes.kind == "boards"


def test_a_node_with_a_problem_takes_no_part() -> None:
    nodes = RemoteNodes()
    assert nodes.choose_kind([answer(problem="it has another version")]) == ""
    channel = Channel()
    assert nodes.add(channel, answer(problem="it has another version"), "host") is None and channel.closed
    assert nodes.add(Channel(), {"fault": "OSError: no space"}, "host") is None


def test_a_tag_names_no_host_and_is_the_same_in_each_run() -> None:
    nodes = RemoteNodes()
    names = [nodes.add(Channel(), answer(), "cluster-node-17") for _ in range(2)]
    first, second = (remote.node.name for remote in names if remote is not None)
    assert first.startswith("node-") and "cluster" not in first and second == f"{first}-2"
    other = RemoteNodes().add(Channel(), answer(), "cluster-node-17")
    assert other is not None and other.node.name == first


def test_a_node_that_comes_back_has_its_tag_again() -> None:
    nodes, (remote,) = nodes_of(answer())
    remote.lose("no answer")
    assert nodes.alive() == []
    again = nodes.add(Channel(), answer(), remote.host)
    assert again is not None and again.node.name == remote.node.name and nodes.alive() == [again]


def test_a_result_has_the_tag_of_its_node_and_times_by_the_runner_s_clock() -> None:
    result = Result("ok", start_s=1.0, body_s=0.0, dynamic={"disturbed": ""})
    _, (remote,) = nodes_of(answer())
    remote.channel = Channel(
        start={"server": 0, "end": ""}, run={"result": as_json(result), "end": ""}, stop={}
    )
    executor = RemoteExecutor(remote, ["a_library"])
    assert executor.ready.done() and executor.alive
    found = executor.submit(REQUEST).result()
    assert found.dynamic == {"disturbed": "", "node": remote.node.name} and found.start_s > 1e9
    executor.close()
    assert not executor.alive and remote.channel.calls == ["start", "run", "stop"]


def test_what_runs_on_a_node_that_is_lost_was_killed_and_its_server_takes_no_more() -> None:
    nodes, (remote,) = nodes_of(answer())
    remote.channel = Channel(start={"server": 0, "end": ""})
    executor = RemoteExecutor(remote, [])
    found = executor.submit(REQUEST).result()
    assert found.state == "killed"
    assert found.reason == f"its node {remote.node.name} was lost: no answer"
    assert not executor.alive and executor.end == "no answer" and nodes.alive() == []
    executor.close()


@pytest.mark.parametrize(
    "start", [{"fault": "OSError: no space"}, {"server": 0, "end": "was killed by SIGSEGV"}]
)
def test_a_server_that_does_not_start_says_how_it_ended(start: dict[str, Any]) -> None:
    _, (remote,) = nodes_of(answer())
    remote.channel = Channel(start=start, stop={})
    executor = RemoteExecutor(remote, [])
    assert executor.ready.done() and not executor.alive
    assert executor.end in ("OSError: no space", "was killed by SIGSEGV") and not remote.lost
