"""What every stage of a run shares: folder, resources, budget, options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.execution.resources import Resources
from bench.matrix.file import Budget
from bench.records import Request
from bench.results.exchange import Exchange
from bench.results.folder import WORK
from bench.results.store import StageRow, Store

MIN_REPEATS = 9
"""Disturbed launches of a stage that are repeated; more if the stage may have more launches.

The limit ends a run on a machine that is never quiet.
"""


@dataclass(frozen=True)
class Job:
    """The execution of one run: store, folder, budget, resources, and the user's options.

    `plugins` map the path of a plug-in file to its SHA-256; `trusted` are files that may run code. A `smoke`
    run launches each stage once; with `rebuild` no artifact of an earlier run is reused. `exchange` keeps
    artifacts at a URL.
    """

    run_id: str
    store: Store
    results: Path
    budget: Budget
    resources: Resources
    plugins: Mapping[str, str] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    smoke: bool = False
    rebuild: bool = False
    exchange: Exchange | None = None

    @property
    def work(self) -> Path:
        """The folder of requests and results on their way."""
        return self.results / WORK

    @property
    def max_launches(self) -> int:
        """How many launches a timed stage may have."""
        return 1 if self.smoke else self.budget.max_launches

    @property
    def max_repeats(self) -> int:
        """How many disturbed launches of a stage are repeated."""
        if self.smoke or self.budget.max_launches == 1:
            return 0
        requested = self.budget.max_repeats
        return max(MIN_REPEATS, self.budget.max_launches) if requested is None else requested

    def request(
        self, stage: StageRow, launch: int, cpus: tuple[int, ...], resources: Resources
    ) -> Request[Mapping[str, Any]]:
        """Return the request of a launch of a stage on these cores of a node with these resources.

        The first launch has every probe's pass.
        """
        request = request_of(
            stage, launch, cpus, results=self.results, resources=resources, budget=self.budget
        )
        return replace(
            request,
            plugins=self.plugins,
            run_id=self.run_id,
            smoke=self.smoke,
            all_passes=launch == 0,
            trusted=self.trusted,
        )


def request_of(
    stage: StageRow,
    launch: int,
    cpus: tuple[int, ...],
    *,
    results: Path,
    resources: Resources,
    budget: Budget,
) -> Request[Mapping[str, Any]]:
    """Return the request of a launch that belongs to no run; its memory is its cores' share."""
    planned = stage.request
    return Request(
        kind=stage.kind,
        key=stage.key,
        label=stage.label,
        settings=planned.settings,
        parents=planned.parents,
        plugins={},
        imports=(*planned.server_imports, *planned.worker_imports),
        results=str(results),
        run_id="",
        round=launch,
        device=planned.device,
        threads=len(cpus),
        cpus=cpus,
        memory_bytes=int(resources.memory_bytes * len(cpus) / len(resources.cpus)),
        timeout_s=budget.timeout_s,
        fork_safe=planned.fork_safe,
    )
