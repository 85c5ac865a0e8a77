"""Nodes of a cluster as the runner sees them: one kind, tags without hosts, and what a lost one leaves."""

from __future__ import annotations

from typing import Any

import pytest

from bench.execution.engines.remote import OTHER_KIND, RemoteExecutor, RemoteNode, RemoteNodes
from bench.records import Request, Result, as_json
from techniques.registry import Obstacle
from tests.support.agents import Channel, answer

REQUEST: Request[Any] = Request(
    *("evaluate", "a" * 64, "net @ cpu", {}, {}, {}, (), "results", "run-1", 0, "cpu", 1),
    *((0,), 2**30, 60.0),
)


def nodes_of(*answers: dict[str, Any]) -> tuple[RemoteNodes, list[RemoteNode]]:
    nodes = RemoteNodes()
    nodes.choose_kind(answers)
    fit = [each for each in answers if not nodes.why_not(each)]
    return nodes, [nodes.add(Channel(), each, f"host-{place}") for place, each in enumerate(fit)]


def cores_of(nodes: RemoteNodes) -> list[tuple[int, ...]]:
    return [remote.node.resources.cpus for remote in nodes.alive()]


def test_the_kind_with_the_most_cores_takes_part_and_its_devices_are_in_keys() -> None:
    nodes, _ = nodes_of(answer("old", 8), answer("new", 4), answer("new", 6))
    assert nodes.kind == "new" and [len(cpus) for cpus in cores_of(nodes)] == [4, 6]
    assert nodes.devices == {"cpu": "cpu: new"}
    assert nodes.obstacles == {"cpu-eager": None, "openvino": Obstacle("no OpenVINO", "pip install openvino")}


def test_a_kind_with_accelerators_goes_before_one_with_more_cores() -> None:
    nodes, _ = nodes_of(answer("cores", 64), answer("boards", 8, boards=2))
    assert nodes.kind == "boards"


def test_nodes_of_one_machine_get_cores_of_their_own_where_they_fit() -> None:
    nodes, _ = nodes_of(*(answer(cores=2, cpus=5, machine="one") for _ in range(3)))
    assert cores_of(nodes) == [(0, 1), (2, 3)] and nodes.standing_by() == 1
    apart, _ = nodes_of(*(answer(cores=2, cpus=2) for _ in range(2)))
    assert cores_of(apart) == [(0, 1), (0, 1)] and apart.standing_by() == 0


def test_two_threads_of_a_physical_core_are_not_cores_of_two_nodes() -> None:
    nodes, _ = nodes_of(*(answer(cores=1, cpus=4, threads=2, machine="one") for _ in range(3)))
    assert cores_of(nodes) == [(0,), (2,)] and nodes.standing_by() == 1


def test_nodes_that_would_share_their_cores_or_an_accelerator_work_one_at_a_time() -> None:
    nodes, (first, second) = nodes_of(*(answer(cores=2, machine="one") for _ in range(2)))
    assert nodes.alive() == [first] and nodes.standing_by() == 1
    first.lose("no answer")
    assert nodes.alive() == [second]
    back = nodes.add(Channel(), answer(cores=2, machine="one"), first.host)
    assert nodes.alive() == [second] and back.node.name == first.node.name, "it would join a round that runs"
    boards, _ = nodes_of(*(answer(cores=1, cpus=2, boards=1, machine="one") for _ in range(2)))
    assert cores_of(boards) == [(0,)]


def test_a_node_with_a_problem_or_of_another_kind_takes_no_part() -> None:
    nodes, _ = nodes_of(answer("new"))
    assert nodes.why_not(answer("new")) == ""
    assert nodes.why_not(answer("new", problem="it has another version")) == "it has another version"
    assert nodes.why_not(answer("old")) == OTHER_KIND


def test_a_tag_names_no_host_and_is_the_same_in_each_run() -> None:
    nodes = RemoteNodes()
    names = [nodes.add(Channel(), answer(), "cluster-node-17") for _ in range(2)]
    first, second = (remote.node.name for remote in names)
    assert first.startswith("node-") and "cluster" not in first and second == f"{first}-2"
    other = RemoteNodes().add(Channel(), answer(), "cluster-node-17")
    assert other.node.name == first


def test_a_node_that_comes_back_has_its_tag_again() -> None:
    nodes, (remote,) = nodes_of(answer())
    remote.lose("no answer")
    assert nodes.alive() == []
    again = nodes.add(Channel(), answer(), remote.host)
    assert again.node.name == remote.node.name and nodes.alive() == [again]


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
    assert not executor.alive and remote.channel.calls == ["start", "run", "stop"] and remote.served


def test_what_runs_on_a_node_that_is_lost_was_killed_and_its_server_takes_no_more() -> None:
    nodes, (remote,) = nodes_of(answer())
    remote.channel = Channel(start={"server": 0, "end": ""})
    executor = RemoteExecutor(remote, [])
    found = executor.submit(REQUEST).result()
    assert found.state == "killed"
    assert found.reason == f"its node {remote.node.name} was lost: no answer"
    assert not executor.alive and executor.end == "no answer" and nodes.alive() == []
    executor.close()


def test_a_node_whose_agent_fails_at_a_request_is_lost() -> None:
    nodes, (remote,) = nodes_of(answer())
    fault = "OSError: no space left for /tmp/bench-node"
    remote.channel = Channel(start={"server": 0, "end": ""}, run={"fault": fault})
    found = RemoteExecutor(remote, []).submit(REQUEST).result()
    assert found.state == "killed" and found.reason.endswith(f"was lost: its agent failed: {fault}")
    assert nodes.alive() == [] and not remote.served


@pytest.mark.parametrize(
    "start", [{"fault": "OSError: no space"}, {"server": 0, "end": "was killed by SIGSEGV"}]
)
def test_a_server_that_does_not_start_says_how_it_ended(start: dict[str, Any]) -> None:
    _, (remote,) = nodes_of(answer())
    remote.channel = Channel(start=start, stop={})
    executor = RemoteExecutor(remote, [])
    assert executor.ready.done() and not executor.alive
    assert executor.end in ("OSError: no space", "was killed by SIGSEGV") and not remote.lost
