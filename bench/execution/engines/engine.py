"""What an engine is to the runner: nodes that come and go, and on each of them servers that run requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from bench.execution.resources import Resources
from bench.records import Request, Result
from techniques.registry import Obstacle

THIS_MACHINE = ""
"""The name of the node of a run without a cluster."""

_LOOK_AGAIN_S = 1.0


class Executor(Protocol):
    """A server on one node, which runs each request in a process of its own."""

    @property
    def ready(self) -> Future[None]:
        """Done once the server has finished its imports, or has ended."""

    @property
    def alive(self) -> bool:
        """Whether the server still takes requests."""

    @property
    def end(self) -> str:
        """How the server ended; empty while it is alive."""

    def submit(self, request: Request[Any]) -> Future[Result]:
        """Start the request; the future never raises for what the stage does, or for a node that is lost."""

    def close(self) -> None:
        """Stop the server; workers that still run are killed."""


@dataclass(frozen=True)
class Node:
    """A machine that runs requests.

    `name` is the tag in the record of each launch; this machine has none. Timings of nodes of one `kind` can
    be compared. `resources` are the cores and the memory that a run may use there. Several nodes may be parts
    of one `machine`, which is empty for this one.
    """

    name: str
    kind: str
    resources: Resources
    machine: str = ""


class Engine(Protocol):
    """Where stages run: on nodes of one kind, so that all timings of a run can be compared.

    No two nodes that take requests have a core in common, so that no launch is timed beside another. The
    runner asks for the nodes again and again, so that answering must be quick.
    """

    def nodes(self) -> Sequence[Node]:
        """Return the nodes that take requests now; raises BenchError where no node can come any more."""

    def devices(self) -> Mapping[str, str]:
        """Return the kinds of the nodes' devices by name, as they stand in keys; empty for this machine's."""

    def obstacles(self) -> Mapping[str, Obstacle | None]:
        """Return what keeps each backend from running on the nodes; empty where this machine tells."""

    def hosts(self) -> Mapping[str, str]:
        """Return the host of each node by its name, for the run's log; records name no host."""

    def waiting_for(self) -> str:
        """Say what the engine waits for while it has no node."""

    def start(self, node: Node, modules: Sequence[str]) -> Executor:
        """Start a server on a node, which imports these modules first."""

    def give_up(self, node: Node, why: str) -> None:
        """Do without a node where no server starts; raises BenchError where the engine has no other."""

    def close(self) -> None:
        """End everything that runs on the nodes, and give them back."""


def wait_for_nodes(engine: Engine, say: Callable[[str], None]) -> Sequence[Node]:
    """Return the nodes that take requests; where there is none, sleep until one comes, and say why.

    Raises BenchError where no node can come any more.
    """
    said = ""
    while not (nodes := engine.nodes()):
        if said != (reason := engine.waiting_for()):
            say(f"waiting for {reason}")
            said = reason
        time.sleep(_LOOK_AGAIN_S)
    return nodes
