"""The fork servers of a run: a fresh one for each round of launches, or one for a whole smoke run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.costs.timeline import SERVERS, STOPPING, Timeline
from bench.errors import BenchError
from bench.execution.executor import ForkServerExecutor
from bench.results.store import StageRow

MAX_ENDS = 3
"""Attempts to start a server before the run gives up."""


class Servers:
    """Starts servers and stops them. `make` starts one that imports these modules.

    With `kept`, one server stays alive between rounds, until `close`: a smoke run only shows whether launches
    work.
    """

    def __init__(
        self, make: Callable[[list[str]], ForkServerExecutor], timeline: Timeline, *, kept: bool
    ) -> None:
        self._make = make
        self._timeline = timeline
        self._keeps = kept
        self._kept: ForkServerExecutor | None = None

    def start(self, stages: Iterable[StageRow], old: ForkServerExecutor | None = None) -> ForkServerExecutor:
        """Return a server that is ready, in place of an `old` one. Raises BenchError where none starts."""
        if self._kept is not None and self._kept.alive:
            return self._kept
        ended = self._kept or old
        if ended is not None:
            self._end(ended)
        modules = list(dict.fromkeys(name for stage in stages for name in stage.request.server_imports))
        # The last attempt imports nothing: an import that crashes then crashes only the worker that needs it.
        for imports in (*[modules] * (MAX_ENDS - 1), []):
            with self._timeline.part(SERVERS):
                executor = self._make(imports)
                executor.wait_until_ready()
            if executor.alive:
                self._kept = executor if self._keeps else None
                return executor
            self._end(executor)
        raise BenchError(f"no fork server could be started: it {executor.end}; run the command again")

    def stop(self, executor: ForkServerExecutor) -> None:
        """Stop a server, unless another round may use it."""
        if executor is not self._kept:
            self._end(executor)

    def close(self) -> None:
        if self._kept is not None:
            self._end(self._kept)
            self._kept = None

    def _end(self, executor: ForkServerExecutor) -> None:
        with self._timeline.part(STOPPING):
            executor.close()
