"""Ray as an engine: one actor on each node of a cluster, which has all cores of its node.

So nothing else that Ray schedules runs next to a launch. The actor starts fork servers as a run on one
machine does (Ray Core, "Actors", "Scheduling": node affinity).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bench.errors import BenchError
from bench.execution.engines.agent import Agent, Setup, source_folder
from bench.execution.engines.cluster import ClusterEngine
from bench.execution.engines.remote import Channel, NodeLost
from bench.records import as_json, read_as

ADDRESS = "RAY_ADDRESS"

_CALLS_AT_ONCE = 256
_CONNECT_S = 5.0
_CLOSE_S = 10.0


def ray_engine(setup: Setup, say: Callable[[str], None]) -> ClusterEngine:
    """Connect to the cluster at RAY_ADDRESS, or start Ray on this machine, and wait for a node."""
    _connect()
    return ClusterEngine(RayCluster(setup), say)


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
        self._lives = False  # it may still wait for its node's cores
        self.end = ""

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        from ray.exceptions import RayError

        answer: Future[dict[str, Any]] = Future()

        def take_up(called: Future[dict[str, Any]]) -> None:
            error = called.exception()
            if error is None:
                self._lives = True
                answer.set_result(called.result())
            else:
                lose(error)

        def lose(error: BaseException) -> None:
            self.end = f"Ray says {type(error).__name__}"
            answer.set_exception(NodeLost(self.end))

        try:
            self._actor.call.remote(what, dict(arguments)).future().add_done_callback(take_up)
        except RayError as error:
            lose(error)
        return answer

    def close(self) -> None:
        import ray

        with suppress(Exception):
            if self._lives and not self.end:
                ray.get(self._actor.close.remote(), timeout=_CLOSE_S)
        with suppress(Exception):
            ray.kill(self._actor)


class RayCluster:
    """The nodes of the Ray cluster that this process is connected to, by Ray's ids."""

    grows = True

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._resources: dict[str, Mapping[str, float]] = {}

    def look(self) -> Mapping[str, str]:
        import ray

        try:
            nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        except Exception as error:
            raise BenchError(f"the Ray cluster does not answer: {_first_line(error)}") from None
        self._resources = {node["NodeID"]: node["Resources"] for node in nodes}
        return {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}

    def start(self, place: str) -> Channel:
        resources = self._resources[place]
        setup = replace(self._setup, cpus=int(resources["CPU"]))
        try:
            return _Actor(_start_actor(place, resources, setup))
        except Exception as error:  # whatever Ray raises of a node that goes just now
            raise BenchError(f"--engine ray: {_first_line(error)}") from None

    def waiting_for(self) -> str:
        return "a node of the Ray cluster with all its cores free"

    def close(self, channels: Collection[Channel]) -> None:
        import ray

        for channel in channels:
            channel.close()
        ray.shutdown()


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
        if address and _lacks_token(error):
            raise BenchError(
                f"--engine ray: the Ray cluster at {ADDRESS}={address} wants a token; "
                "set RAY_AUTH_MODE=token, with its token in ~/.ray/auth_token or at RAY_AUTH_TOKEN_PATH"
            ) from None
        raise BenchError(f"--engine ray: {_first_line(error)}") from None


def _lacks_token(error: BaseException | None) -> bool:
    """Say whether a cluster refused a connection for its token, which Ray says in a cause only."""
    return error is not None and ("InvalidAuthToken" in str(error) or _lacks_token(error.__cause__))


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
