"""The runner's side of a node's agent: calls and their answers, servers there, and the loss of the node."""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol

from bench.costs.timeline import now_s
from bench.execution.engines.engine import Node
from bench.execution.resources import Resources
from bench.records import Request, Result, as_json, read_as
from techniques.registry import Obstacle

_LOG = logging.getLogger(__name__)

OTHER_KIND = "its node is of another kind"

_STOP_S = 15.0
"""How long an agent may take to stop a server before the runner goes on without it."""


class NodeLost(Exception):
    """The agent of a node does not answer any more; says how that was seen, in one line."""


class Channel(Protocol):
    """How calls reach an agent. The future of a call raises NodeLost where its node is lost."""

    @property
    def end(self) -> str:
        """How the agent ended, as far as that is seen without a call; empty while it may answer."""

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """Call the agent."""

    def close(self) -> None:
        """End the agent and what it has started, and give its node back."""


@dataclass
class RemoteNode:
    """A node with its agent; `lost` says how it was lost, and is empty while it answers.

    `holds` are the physical cores and accelerators of its machine that it uses. It has `served` once it has
    answered a request, whatever that found.
    """

    node: Node
    channel: Channel
    host: str = ""
    holds: frozenset[str] = frozenset()
    lost: str = ""
    served: bool = False

    def lose(self, how: str) -> None:
        if not self.lost:
            self.lost = how
            _LOG.warning("%s (%s) is lost: %s", self.node.name, self.host, how)


class RemoteExecutor:
    """A fork server on a node; see `bench.execution.engines.engine.Executor`."""

    def __init__(self, remote: RemoteNode, modules: Sequence[str]) -> None:
        self._remote = remote
        self._server: int | None = None
        self._end = ""
        self.ready: Future[None] = Future()
        words = {"modules": list(modules), "cpus": list(remote.node.resources.cpus)}
        remote.channel.call("start", words).add_done_callback(self._started)

    @property
    def alive(self) -> bool:
        return not self._end and not self._remote.lost

    @property
    def end(self) -> str:
        return self._end or self._remote.lost

    def submit(self, request: Request[Any]) -> Future[Result]:
        _LOG.info("%s: %s %s, launch %d", self._name, request.kind, request.label, request.round + 1)
        submitted_s = now_s()
        answered: Future[Result] = Future()

        def take_up(called: Future[dict[str, Any]]) -> None:
            answered.set_result(self._result(called, submitted_s))

        arguments = {"server": self._server, "request": as_json(request)}
        self._remote.channel.call("run", arguments).add_done_callback(take_up)
        return answered

    def close(self) -> None:
        # A server that is still starting stops with its agent, or is stopped as soon as it has a number.
        with contextlib.suppress(NodeLost, TimeoutError):
            if self._server is not None and not self._remote.lost:
                self._remote.channel.call("stop", {"server": self._server}).result(_STOP_S)
        self._end = self._end or "was stopped"

    @property
    def _name(self) -> str:
        return self._remote.node.name

    def _started(self, called: Future[dict[str, Any]]) -> None:
        answer = self._answer(called)
        if answer is not None:
            stopped, self._end = bool(self._end), answer["end"] or self._end
            self._server = answer["server"]
            if stopped:
                self._remote.channel.call("stop", {"server": self._server})
        self.ready.set_result(None)

    def _answer(self, called: Future[dict[str, Any]]) -> dict[str, Any] | None:
        try:
            answer = called.result()
        except NodeLost as error:
            self._remote.lose(str(error))
            return None
        if "fault" in answer:
            self._end = answer["fault"]
            return None
        return answer

    def _result(self, called: Future[dict[str, Any]], submitted_s: float) -> Result:
        """Return the result of a call, with its times by the runner's clock."""
        answer = self._answer(called)
        if answer is None:
            # An agent that fails at a request may fail at all: its disk is full, as a rule.
            self._remote.lose(f"its agent failed: {self.end}")
            reason = f"its node {self._name} was lost: {self._remote.lost}"
            result = Result("killed", reason, start_s=submitted_s)
        else:
            self._remote.served = True
            self._end = answer["end"]
            result = read_as(Result, answer["result"])
        wall_s = now_s() - submitted_s
        start_s = submitted_s + max(0.0, wall_s - result.body_s)
        level = logging.INFO if result.state in ("ok", "skipped") else logging.WARNING
        _LOG.log(level, "%s: %s after %.1f s %s", self._name, result.state, wall_s, result.reason)
        return replace(result, start_s=start_s, wall_s=wall_s, dynamic={**result.dynamic, "node": self._name})


class RemoteNodes:
    """The nodes of a cluster: those of one kind take part, each named by a tag that tells no host.

    The first nodes decide: of their kinds the one with accelerators, then the one with the most cores.
    """

    def __init__(self) -> None:
        self._remotes: dict[str, RemoteNode] = {}
        self.kind = ""
        self.devices: Mapping[str, str] = {}
        self.obstacles: Mapping[str, Obstacle | None] = {}

    def alive(self) -> list[RemoteNode]:
        """Return the nodes that are not lost; of those that would share a core or accelerator, the first."""
        used: defaultdict[str, set[str]] = defaultdict(set)
        found = []
        for remote in self._remotes.values():
            held = used[remote.node.machine]
            if not remote.lost and held.isdisjoint(remote.holds):
                held.update(remote.holds)
                found.append(remote)
        return found

    def standing_by(self) -> int:
        """Return how many nodes wait, because another one has their cores or accelerators."""
        return sum(not remote.lost for remote in self._remotes.values()) - len(self.alive())

    def named(self, node: Node) -> RemoteNode:
        """Return a node with its agent."""
        return self._remotes[node.name]

    def why_not(self, answer: Mapping[str, Any]) -> str:
        """Return why a node takes no part, by what its agent said of it; empty where it does."""
        other = self.kind and answer["kind"] != self.kind
        return str(answer["problem"]) or (OTHER_KIND if other else "")

    def add(self, channel: Channel, answer: Mapping[str, Any], host: str) -> RemoteNode:
        """Take up a node by what its agent said of it, with cores that no other node of its machine has.

        Where too few are left for that, it stands by; see `alive`.
        """
        cpus, holds = self._share_of(answer)
        resources = Resources(cpus, answer["memory_bytes"])
        node = Node(self._tag(host), answer["kind"], resources, answer["machine"])
        # One that is back again stands behind those that have taken its cores meanwhile.
        self._remotes.pop(node.name, None)
        remote = self._remotes[node.name] = RemoteNode(node, channel, host, holds)
        _LOG.info(
            "%s is %s, cores %s: %s", node.name, host, ",".join(map(str, cpus)), answer["devices"]["cpu"]
        )
        return remote

    def choose_kind(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Choose the kind of node to use, by what agents said."""
        cores: dict[str, tuple[int, int]] = {}
        for answer in answers:
            boards, before = cores.get(answer["kind"], (0, 0))
            cores[answer["kind"]] = boards + len(answer["boards"]), before + answer["cores"]
        self.kind = max(cores, key=lambda kind: cores[kind])
        chosen = next(answer for answer in answers if answer["kind"] == self.kind)
        self.devices = chosen["devices"]
        self.obstacles = {
            name: Obstacle(*found) if found else None for name, found in chosen["obstacles"].items()
        }

    def hosts(self) -> dict[str, str]:
        """Return the host of each node that takes part."""
        return {remote.node.name: remote.host for remote in self.alive()}

    def _share_of(self, answer: Mapping[str, Any]) -> tuple[tuple[int, ...], frozenset[str]]:
        """Return the cores of a node, and all that it does not share with another node of its machine."""
        physical: dict[int, str] = dict(zip(answer["cpus"], answer["physical"], strict=True))
        taken = {
            name
            for remote in self._remotes.values()
            if not remote.lost and remote.node.machine == answer["machine"]
            for name in remote.holds
        }
        free = [cpu for cpu, core in physical.items() if core not in taken]
        cpus = (free if len(free) >= answer["cores"] else list(physical))[: answer["cores"]]
        boards = (f"accelerator {board}" for board in answer["boards"])
        return tuple(cpus), frozenset([*(physical[cpu] for cpu in cpus), *boards])

    def _tag(self, host: str) -> str:
        tag = f"node-{sha256(host.encode()).hexdigest()[:6]}"
        number = 1
        while (name := tag if number == 1 else f"{tag}-{number}") in self._remotes:
            if self._remotes[name].lost:
                return name  # back again
            number += 1
        return name
