"""This machine as the only node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.errors import BenchError
from bench.execution.engines.engine import THIS_MACHINE, Executor, Node
from bench.execution.executor import ForkServerExecutor
from bench.execution.job import Job
from bench.execution.resources import Resources
from techniques.registry import Obstacle

MakeExecutor = Callable[[Sequence[str]], Executor]


class LocalEngine:
    """Runs everything on this machine; `make` starts a server that imports the modules it is given."""

    def __init__(self, resources: Resources, make: MakeExecutor) -> None:
        self._node = Node(THIS_MACHINE, "", resources)
        self._make = make

    def nodes(self) -> Sequence[Node]:
        return (self._node,)

    def devices(self) -> Mapping[str, str]:
        return {}

    def obstacles(self) -> Mapping[str, Obstacle | None]:
        return {}

    def hosts(self) -> Mapping[str, str]:
        return {}

    def waiting_for(self) -> str:
        return ""

    def start(self, node: Node, modules: Sequence[str]) -> Executor:
        return self._make(modules)

    def give_up(self, node: Node, why: str) -> None:
        raise BenchError(f"no fork server could be started: it {why}; run the command again")

    def close(self) -> None: ...


def this_machine(job: Job) -> LocalEngine:
    """Return the engine of a run on this machine."""
    return LocalEngine(
        job.resources,
        lambda modules: ForkServerExecutor(job.work, job.results, modules, job.budget.allocator),
    )
