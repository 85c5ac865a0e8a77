"""An engine of a cluster: at each of its places an agent, started, taken up as a node, and replaced.

All that Ray and Slurm have in common. An agent that ends is started again. A place whose agents end one
after the other before they have answered a request is left out while other nodes work, and at last for good.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bench.errors import BenchError
from bench.execution.engines.engine import Executor, Node
from bench.execution.engines.remote import OTHER_KIND, Channel, RemoteExecutor, RemoteNode, RemoteNodes
from bench.formatting import counted
from techniques.registry import Obstacle

_LOG = logging.getLogger(__name__)

MAX_ENDS = 3
"""Agents of a place that end in a row, none of which has answered a request, before others do without it."""

MAX_ENDS_ALONE = 9
"""The same before a place that has taken part is given up: one stage may end three of its agents."""

REFUSED_S = 3600.0
"""How long a cluster may refuse an agent, as a full queue does, before its place is given up."""

_REFUSED_AGAIN_S = 30.0
_GRACE_S = 20.0
"""How long the first node waits for others, so that the kind of most of them can be chosen."""
_LOOK_S = 5.0
_SAY_S = 10.0
_POLL_S = 0.1


class Cluster(Protocol):
    """What differs between clusters: which places there are, and how an agent is started at one."""

    @property
    def grows(self) -> bool:
        """Whether places may come by themselves."""

    def look(self) -> Mapping[str, str]:
        """Return the places that there are now, each with its host, which is empty while it is unknown.

        Agents that have ended say so by their channels then. Raises BenchError where the cluster is gone.
        """

    def start(self, place: str) -> Channel:
        """Start an agent at a place; raises BenchError where the cluster does not take it now."""

    def waiting_for(self) -> str:
        """Say what agents wait for that have not answered; quick, as of the last look."""

    def close(self, channels: Collection[Channel]) -> None:
        """End these agents and the connection to the cluster."""


@dataclass
class _Place:
    """Where an agent can run: how to reach it, what it said of itself, and how earlier ones ended.

    `ends` counts agents in a row that ended before they had answered a request. A place is `out` for good
    where it is unfit to take part, or its attempts are spent; `why` says why it has no node.
    """

    name: str
    host: str
    channel: Channel | None = None
    said: Future[dict[str, Any]] | None = None
    remote: RemoteNode | None = None
    took_part: bool = False
    ends: int = 0
    refused_s: float | None = None
    next_s: float = 0.0
    out: Literal["", "unfit", "spent"] = ""
    why: str = ""

    @property
    def label(self) -> str:
        return self.host or f"place {self.name}"


class ClusterEngine:
    """The nodes of a cluster; see `bench.execution.engines.engine.Engine`.

    Made, it has waited for its first node. Raises BenchError where no node can take part.
    """

    def __init__(
        self,
        cluster: Cluster,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster = cluster
        self._clock, self._sleep = clock, sleep
        self._places: dict[str, _Place] = {}
        self._nodes = RemoteNodes()
        self._looked_s = 0.0
        try:
            self._first_look(say)
            self._wait(say)
        except BaseException:
            self.close()
            raise

    def nodes(self) -> Sequence[Node]:
        self._settle()
        if self._clock() - self._looked_s > _LOOK_S:
            self._look()
            self._settle()
        found = [remote.node for remote in self._nodes.alive()]
        if not found and self._is_over():
            raise BenchError(f"no node is left: {self._reasons()[0]}; run the same command again to go on")
        return found

    def devices(self) -> Mapping[str, str]:
        return self._nodes.devices

    def obstacles(self) -> Mapping[str, Obstacle | None]:
        return self._nodes.obstacles

    def hosts(self) -> Mapping[str, str]:
        return self._nodes.hosts()

    def waiting_for(self) -> str:
        return self._cluster.waiting_for()

    def start(self, node: Node, modules: Sequence[str]) -> Executor:
        return RemoteExecutor(self._nodes.named(node), modules)

    def give_up(self, node: Node, why: str) -> None:
        self._nodes.named(node).lose(f"no fork server could be started there: it {why}")

    def close(self) -> None:
        self._cluster.close([place.channel for place in self._places.values() if place.channel is not None])

    def _first_look(self, say: Callable[[str], None]) -> None:
        """Start the first agents; raises BenchError where the cluster takes none."""
        self._look()
        refused = [place.why for place in self._places.values() if place.refused_s is not None]
        if refused and not any(place.channel for place in self._places.values()):
            raise BenchError(refused[0])
        if refused:
            nodes = sum(place.channel is None for place in self._places.values())
            say(f"{counted(nodes, 'node')} less for now: {refused[0]}")

    def _wait(self, say: Callable[[str], None]) -> None:
        """Wait for the first node, a little for others, and choose the kind to use."""
        fit: Sequence[Mapping[str, Any]] = []
        while not fit:
            self._wait_for_one(say)
            until_s = self._clock() + _GRACE_S
            while self._is_pending() and self._clock() < until_s:
                self._sleep(_POLL_S)
            fit = self._settle()
        self._nodes.choose_kind(fit)
        self._settle()
        self._tell_who_is_missing(say)

    def _wait_for_one(self, say: Callable[[str], None]) -> None:
        said, since_s = "", self._clock()
        while not self._settle():
            if self._is_over():
                raise BenchError(f"no node can take part: {self._reasons()[0]}")
            if self._clock() - self._looked_s > _LOOK_S:
                self._look()
            if self._clock() - since_s > _SAY_S and said != (reason := self.waiting_for()):
                say(f"waiting for {reason}")
                said = reason
            self._sleep(_POLL_S)

    def _tell_who_is_missing(self, say: Callable[[str], None]) -> None:
        asked = (place for place in self._places.values() if place.refused_s is None)
        reasons = [place.why for place in asked if place.why]
        problems = [reason for reason in reasons if reason != OTHER_KIND]
        if others := len(reasons) - len(problems):
            nodes = f"{counted(others, 'node')} of another kind"
            say(f"{nodes} cannot take part: a run's timings are of one kind of node")
        if problems:
            say(f"{counted(len(problems), 'node')} cannot take part: {problems[0]}")
        if standing_by := self._nodes.standing_by():
            nodes = counted(standing_by, "node")
            say(f"{nodes} must stand by: another node of the same machine has the cores")

    def _look(self) -> None:
        """Look at the cluster: leave places that are gone, and start agents where there is none."""
        self._looked_s = self._clock()
        found = self._cluster.look()
        for name in [name for name in self._places if name not in found]:
            self._end(self._places.pop(name), "the cluster has given the node up")
        for name, host in found.items():
            self._places.setdefault(name, _Place(name, host))
        for place in self._places.values():
            if self._may_start(place) and not self._start(place):
                break  # it would refuse others too, and a refusal may take a while

    def _may_start(self, place: _Place) -> bool:
        if place.channel is not None or place.out or self._clock() < place.next_s:
            return False
        return place.ends < MAX_ENDS or not self._nodes.alive()

    def _start(self, place: _Place) -> bool:
        """Start an agent; returns whether the cluster has taken it."""
        try:
            place.channel = self._cluster.start(place.name)
        except BenchError as error:
            _LOG.warning("%s: %s", place.label, error)
            now_s = self._clock()
            place.why, place.next_s = str(error), now_s + _REFUSED_AGAIN_S
            place.refused_s = now_s if place.refused_s is None else place.refused_s
            if now_s - place.refused_s >= REFUSED_S:
                place.out = "spent"
            return False
        place.refused_s = None
        place.said = place.channel.call("describe", {})
        return True

    def _settle(self) -> list[Mapping[str, Any]]:
        """Take up what agents have said, and notice those that ended; return what fit ones said."""
        fit: list[Mapping[str, Any]] = []
        for place in self._places.values():
            how = _how_it_ended(place)
            if how:
                self._end(place, how)
            elif place.said is not None and place.said.done():
                answer = place.said.result()
                unfit = self._nodes.why_not(answer)
                if unfit:
                    self._leave_out(place, unfit)
                    continue
                fit.append(answer)
                if self._nodes.kind and place.remote is None and place.channel is not None:
                    host = place.host or answer["host"]
                    place.remote = self._nodes.add(place.channel, answer, host)
                    place.took_part, place.why = True, ""
        return fit

    def _end(self, place: _Place, how: str) -> None:
        """Forget an agent that has ended; the next look starts another one."""
        if place.remote is not None:
            place.remote.lose(how)
        elif place.channel is not None:
            _LOG.warning("%s: its agent ended: %s", place.label, how)
        served = place.remote is not None and place.remote.served
        place.ends = 1 if served else place.ends + 1
        place.why = how
        self._drop(place)
        if place.ends >= (MAX_ENDS_ALONE if place.took_part else MAX_ENDS):
            _LOG.warning("%s is given up, %d of its agents have ended in a row", place.label, place.ends)
            place.out = "spent"

    def _leave_out(self, place: _Place, why: str) -> None:
        """Do without a node for good: its agent would only keep what others may need."""
        _LOG.warning("%s takes no part: %s", place.label, why)
        place.out, place.why = "unfit", why
        self._drop(place)

    def _drop(self, place: _Place) -> None:
        if place.channel is not None:
            place.channel.close()
        place.channel, place.said, place.remote = None, None, None

    def _is_pending(self) -> bool:
        return any(place.said is not None and not place.said.done() for place in self._places.values())

    def _is_over(self) -> bool:
        """Say whether no node can come any more."""
        outs = [place.out for place in self._places.values()]
        if not outs or "" in outs:
            return False
        return "spent" in outs or not self._cluster.grows or not self._nodes.kind

    def _reasons(self) -> list[str]:
        """Return why places have no node, those first that have tried."""
        without = [place for place in self._places.values() if place.why]
        return [place.why for place in sorted(without, key=lambda place: place.out != "spent")]


def _how_it_ended(place: _Place) -> str:
    """Return how a place's agent ended, or failed to say what its node is; empty while it may answer."""
    if place.remote is not None and place.remote.lost:
        return place.remote.lost
    if place.said is None or place.channel is None:
        return ""
    if place.said.done():
        error = place.said.exception()
        fault = str(error) if error is not None else place.said.result().get("fault", "")
        return str(fault) or place.channel.end
    return place.channel.end
