"""Ray as an engine: one actor on each node of a cluster, which has all cores of its node.

So nothing else that Ray schedules runs next to a launch. The actor starts fork servers as a run on one
machine does (Ray Core, "Actors", "Scheduling": node affinity).
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bench.errors import BenchError
from bench.execution.engines.agent import Agent, Setup, source_folder
from bench.execution.engines.engine import Executor, Node
from bench.execution.engines.remote import (
    NodeLost,
    RemoteExecutor,
    RemoteNode,
    RemoteNodes,
    no_node,
    problem_of,
)
from bench.records import as_json, read_as
from techniques.registry import Obstacle

ADDRESS = "RAY_ADDRESS"

MAX_AGENTS = 3
"""Agents of one node that are lost while Ray still has the node: it is left out then."""

_CALLS_AT_ONCE = 256
_CONNECT_S = 5.0
_GRACE_S = 20.0
"""How long the first node waits for others, so that the kind of most of them can be chosen."""
_LOOK_S = 5.0
_CLOSE_S = 10.0


class RayAgent:
    """An agent as an actor."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._agent = Agent(read_as(Setup, setup))

    def call(self, what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._agent.call(what, arguments)

    def close(self) -> None:
        self._agent.close()


class _Actor:
    """The way to the agent of one node."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._lost = False

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        from ray.exceptions import RayError

        answer: Future[dict[str, Any]] = Future()

        def take_up(called: Future[dict[str, Any]]) -> None:
            error = called.exception()
            if error is None:
                answer.set_result(called.result())
            else:
                self._lost = True
                answer.set_exception(NodeLost(f"Ray says {type(error).__name__}"))

        try:
            self._actor.call.remote(what, dict(arguments)).future().add_done_callback(take_up)
        except RayError as error:
            answer.set_exception(NodeLost(f"Ray says {type(error).__name__}"))
        return answer

    def close(self) -> None:
        import ray

        with suppress(Exception):
            if not self._lost:
                ray.get(self._actor.close.remote(), timeout=_CLOSE_S)
        with suppress(Exception):
            ray.kill(self._actor)


class RayEngine:
    """The nodes of a Ray cluster, each with an agent; see `bench.execution.engines.engine.Engine`."""

    def __init__(self, setup: Setup, say: Callable[[str], None]) -> None:
        self._setup = setup
        self._known: dict[str, RemoteNode | None] = {}  # by Ray's id; None while its agent has not answered
        self._tries: Counter[str] = Counter()
        self._nodes = RemoteNodes()
        self._looked_s = 0.0
        self._asked: dict[Future[dict[str, Any]], tuple[_Actor, str, str]] = {}
        _connect()
        try:
            self._wait_for_nodes(say)
        except BaseException:
            self.close()
            raise

    def nodes(self) -> Sequence[Node]:
        if time.monotonic() - self._looked_s > _LOOK_S:
            self._look()
        self._take_up()
        return [remote.node for remote in self._nodes.alive()]

    def devices(self) -> Mapping[str, str]:
        return self._nodes.devices

    def obstacles(self) -> Mapping[str, Obstacle | None]:
        return self._nodes.obstacles

    def hosts(self) -> Mapping[str, str]:
        return self._nodes.hosts()

    def waiting_for(self) -> str:
        return "a node of the Ray cluster with all its cores free"

    def start(self, node: Node, modules: Sequence[str]) -> Executor:
        return RemoteExecutor(self._nodes.named(node), modules)

    def close(self) -> None:
        import ray

        self._nodes.close()
        for actor, _, _ in self._asked.values():
            actor.close()
        ray.shutdown()

    def _wait_for_nodes(self, say: Callable[[str], None]) -> None:
        """Wait for the first node, a little for others, and choose the kind to use."""
        self._look()
        if not wait(self._asked, _GRACE_S, FIRST_COMPLETED).done:
            say(f"waiting for {self.waiting_for()}")
        while not wait(self._asked, _LOOK_S, FIRST_COMPLETED).done:
            self._look()
        done = wait(self._asked, _GRACE_S).done
        answers = [future.result() for future in done if future.exception() is None]
        if not self._nodes.choose_kind(answers):
            raise no_node([*map(problem_of, answers), *(str(future.exception()) for future in done)])
        self._take_up()
        left_out = len(done) - len(self._nodes.alive())
        if left_out:
            say(f"{left_out} nodes of another kind take no part: a run's timings are of one kind of node")

    def _look(self) -> None:
        """Ask the nodes that have come, and give up those that Ray has given up."""
        import ray

        self._looked_s = time.monotonic()
        try:
            found = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        except Exception as error:
            raise BenchError(f"the Ray cluster does not answer: {_first_line(error)}") from None
        for id_, remote in list(self._known.items()):
            if remote is not None and id_ not in found:
                remote.lose("Ray has given the node up")
            if remote is not None and remote.lost and self._tries[id_] < MAX_AGENTS:
                del self._known[id_]
                remote.channel.close()
        for id_, node in found.items():
            cpus = int(node["Resources"].get("CPU", 0))
            if cpus and id_ not in self._known:
                self._known[id_] = None
                self._tries[id_] += 1
                actor = _Actor(_start_actor(id_, node["Resources"], replace(self._setup, cpus=cpus)))
                self._asked[actor.call("describe", {})] = actor, id_, node["NodeManagerAddress"]

    def _take_up(self) -> None:
        for future in [future for future in self._asked if future.done()]:
            actor, id_, host = self._asked.pop(future)
            if future.exception() is None:
                self._known[id_] = self._nodes.add(actor, future.result(), host)


def _connect() -> None:
    import ray

    address = os.environ.get(ADDRESS, "")
    if address:
        _check_address(address)
    # A node's GPUs are for its agent, whose actor reserves none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options = {} if address else {"include_dashboard": False}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:  # whatever Ray raises of a cluster of another version, or of one that ends
        raise BenchError(f"--engine ray: {_first_line(error)}") from None


def _check_address(address: str) -> None:
    """Raise BenchError where nobody listens: Ray itself would try for ever."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", or what Ray knows how to read
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchError(
            f"--engine ray: no Ray cluster at {ADDRESS}={address} ({reason}); start one by "
            f"`ray start --head`, or unset {ADDRESS} to use this machine"
        ) from None


def _start_actor(id_: str, resources: Mapping[str, float], setup: Setup) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    places = [str(source_folder()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return (
        ray.remote(RayAgent)
        .options(
            num_cpus=resources["CPU"],
            num_gpus=resources.get("GPU", 0),
            max_concurrency=_CALLS_AT_ONCE,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(id_, soft=False),
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, places))}},
        )
        .remote(as_json(setup))
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
