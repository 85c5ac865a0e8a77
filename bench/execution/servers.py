"""The servers of a run: on each node a fresh one for each round of launches, or one for a whole smoke run.

Importing is most of what a short run takes, so that servers of the first rounds may start beforehand, beside
what is not timed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.costs.timeline import SERVERS, STOPPING, Timeline
from bench.execution.engines.engine import Engine, Executor, Node, wait_for_nodes
from bench.execution.tasks import Task
from bench.results.store import StageRow

MAX_ENDS = 3
"""Attempts to start a server on a node before the run does without the node."""


@dataclass(frozen=True)
class _Spare:
    """A server that waits for a round, and what it has imported."""

    executor: Executor
    modules: frozenset[str]


class Servers:
    """Starts servers on the nodes of an engine, and stops them.

    With `kept`, one server of each node stays alive between rounds, until `close`: a smoke run only shows
    whether launches work.
    """

    def __init__(self, engine: Engine, timeline: Timeline, say: Callable[[str], None], *, kept: bool) -> None:
        self._engine = engine
        self._timeline = timeline
        self._say = say
        self._keeps = kept
        self._kept: dict[str, Executor] = {}
        self._spares: defaultdict[str, list[_Spare]] = defaultdict(list)

    def nodes(self, *, wait: bool = True) -> Sequence[Node]:
        """Return the nodes that take requests; where there is none, sleep until one comes if told to wait."""
        return wait_for_nodes(self._engine, self._say) if wait else self._engine.nodes()

    def start(
        self, node: Node, stages: Iterable[StageRow], old: Executor | None = None
    ) -> Task[Executor | None]:
        """Return a server of a node that is ready, in place of an `old` one.

        None where the node is lost, or is given up because none starts. Raises BenchError where there can be
        no other node.
        """
        kept = self._kept.get(node.name)
        if kept is not None and kept.alive:
            return kept
        ended = self._kept.pop(node.name, old)
        if ended is not None:
            self._end(ended)
        modules = _imports(stages)
        if (spare := self._spare(node, modules)) is not None:
            return spare
        end = ""
        # The last attempt imports nothing: an import that crashes then crashes only the worker that needs it.
        for imports in (*[modules] * (MAX_ENDS - 1), []):
            with self._timeline.part(SERVERS):
                executor = self._engine.start(node, imports)
                try:
                    yield executor.ready
                except BaseException:  # the run stops meanwhile
                    executor.close()
                    raise
            if executor.alive:
                if self._keeps:
                    self._kept[node.name] = executor
                return executor
            self._end(executor)
            end = executor.end
            if node not in self._engine.nodes():
                return None
        self._engine.give_up(node, end)
        return None

    def prepare(self, node: Node, stages: Sequence[StageRow]) -> Task[None]:
        """Start a server beforehand, for a round of these stages that will come."""
        with self._timeline.part(SERVERS):
            executor = self._engine.start(node, _imports(stages))
            try:
                yield executor.ready
            except BaseException:
                executor.close()
                raise
        self.spare(node, executor, stages)

    def spare(self, node: Node, executor: Executor, stages: Iterable[StageRow]) -> None:
        """Hand over a server that has imported what these stages need, for a round to come."""
        self._spares[node.name].append(_Spare(executor, frozenset(_imports(stages))))

    def has_spare(self, node: Node) -> bool:
        """Return whether a server waits for a round of this node."""
        return any(spare.executor.alive for spare in self._spares[node.name])

    def _spare(self, node: Node, modules: Iterable[str]) -> Executor | None:
        """Return a server that was started beforehand, None where none with these imports is alive."""
        spares = self._spares[node.name]
        while spares:
            spare = spares.pop(0)
            if spare.executor.alive and spare.modules.issuperset(modules):
                return spare.executor
            self._end(spare.executor)
        return None

    def stop(self, executor: Executor) -> None:
        """Stop a server, unless another round may use it."""
        if executor not in self._kept.values():
            self._end(executor)

    def close(self) -> None:
        for executor in self._kept.values():
            self._end(executor)
        self._kept.clear()
        for spare in (spare for spares in self._spares.values() for spare in spares):
            self._end(spare.executor)
        self._spares.clear()

    def _end(self, executor: Executor) -> None:
        with self._timeline.part(STOPPING):
            executor.close()


def _imports(stages: Iterable[StageRow]) -> list[str]:
    return list(dict.fromkeys(name for stage in stages for name in stage.request.server_imports))
