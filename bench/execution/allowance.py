"""Which stages a time budget has room for: cells are admitted one by one, the most telling first.

A budget bounds what each workload takes besides its training. A cell is admitted if what is spent, what
admitted cells still need for one launch of each timing, and its own stages are predicted to fit. Once the
budget is spent, nothing more starts. The first cell of a workload has its answer however small the budget is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from bench.costs import Estimator
from bench.plan.planner import Plan
from bench.records import Result
from bench.results.store import CellRow, StageRow
from bench.stages import STAGES

_ROUNDED_S = 10.0


@dataclass
class _Workload:
    """The cells of a workload, most telling first, how many are decided, and which stages are admitted."""

    cells: Sequence[CellRow]
    first: frozenset[str]
    decided: int = 0
    admitted: set[str] = field(default_factory=set)


class Allowance:
    """The time budget of each workload of a plan: what of it is spent, and which stages may start.

    `ended` has the results of stages that have ended, and `launches` how many each timing has had; `present`
    are the keys of artifacts that need not be made.
    """

    def __init__(
        self,
        plan: Plan,
        budget_s: float,
        estimator: Estimator,
        ended: Mapping[str, Result],
        launches: Mapping[str, int],
        present: Collection[str] = (),
    ) -> None:
        self.spent_s: defaultdict[str, float] = defaultdict(float)
        self._budget_s = budget_s
        self._estimator = estimator
        self._ended = ended
        self._launches = launches
        self._present = present
        self._admitted: dict[str, bool] = {}  # by the name of a cell that is decided
        self._refusals: dict[str, str] = {}
        self._places: dict[str, int] = {}
        self.follow(plan)

    def follow(self, plan: Plan) -> None:
        """Take up a plan, or one whose timings were split; cells keep their order, and what was decided."""
        self._plan = plan
        self._needs: dict[str, frozenset[str]] = {}
        groups: defaultdict[str, list[CellRow]] = defaultdict(list)
        for cell in plan.cells:
            if not cell.skipped:
                groups[str(cell.axes.get("workload", ""))].append(cell)
        self._limit_s = max(0.0, self._budget_s - self._estimator.outside_s / max(1, len(groups)))
        self._ranks: dict[str, int] = {}
        self._workloads: dict[str, _Workload] = {}
        for name, cells in groups.items():
            if cells[0].name not in self._places:
                self._places |= {cell.name: place for place, cell in enumerate(self._ordered(cells))}
            cells.sort(key=lambda cell: self._places[cell.name])
            own = self._workloads[name] = _Workload(cells, self._needed(cells[0]))
            for cell in cells:
                own.decided += cell.name in self._admitted
                own.admitted |= self._needed(cell) if self._admitted.get(cell.name) else frozenset()
                for key in self._needed(cell):
                    self._ranks.setdefault(key, self._places[cell.name])

    def rank(self, stage: StageRow) -> int:
        """Return the place of a stage among those of its workload; what belongs to no cell comes first."""
        return self._ranks.get(stage.key, -1)

    def is_spent(self, workload: str) -> bool:
        """Say whether a workload has spent its budget."""
        return self.spent_s[workload] >= self._limit_s

    def has_room(self, workload: str, stage: StageRow) -> bool:
        """Say whether a timing may repeat a launch: once the others of its workload have had one."""
        own = self._workloads.get(workload)
        for key in own.admitted - {stage.key} if own else ():
            if self._plan.stages[key].timed and key not in self._ended and not self._launches.get(key):
                return False
        return self.spent_s[workload] + self._estimator.elapsed_s(stage, 1) <= self._limit_s

    def refusal(self, workload: str, stage: StageRow) -> str:
        """Say why a stage may not start; empty where it may."""
        own = self._workloads.get(workload)
        if own is None or stage.key not in self._ranks or stage.key in own.first:
            return ""
        while own.decided <= self._ranks[stage.key] and stage.key not in own.admitted:
            self._decide(workload, own)
        if stage.key in own.admitted and not self.is_spent(workload):
            return ""
        if workload not in self._refusals:
            self._refusals[workload] = self._refusal(workload, own)
        return self._refusals[workload]

    def _decide(self, workload: str, own: _Workload) -> None:
        """Admit the next cell of a workload if it is predicted to fit, and the first one in any case."""
        cell = own.cells[own.decided]
        new = self._needed(cell) - own.admitted
        needed_s = self.spent_s[workload] + self._reserved_s(own) + self._cost_s(new)
        # What it shares with an earlier cell may have been refused, or have failed.
        is_lost = any(key in self._ended and self._ended[key].state != "ok" for key in new)
        self._admitted[cell.name] = not own.decided or (needed_s <= self._limit_s and not is_lost)
        own.decided += 1
        if self._admitted[cell.name]:
            own.admitted |= new

    def _reserved_s(self, own: _Workload) -> float:
        """Return the seconds of admitted stages that have not ended, and of a server for their launches."""
        waiting = {key for key in own.admitted if not self._launches.get(key)}
        timed = any(self._plan.stages[key].timed and key not in self._ended for key in waiting)
        return self._cost_s(waiting) + (self._estimator.server_s if timed else 0.0)

    def _cost_s(self, keys: Collection[str]) -> float:
        left = (key for key in keys if key not in self._ended and key not in self._present)
        return sum(self._estimator.elapsed_s(self._plan.stages[key]) for key in left)

    def _refusal(self, workload: str, own: _Workload) -> str:
        every = {key for cell in own.cells for key in self._needed(cell)}
        whole_s = self.spent_s[workload] + self._cost_s(every) + self._budget_s - self._limit_s
        enough_s = _ROUNDED_S * math.ceil(1 + max(whole_s, self._budget_s) / _ROUNDED_S)
        budget = f"the time budget of {self._budget_s:g} s"
        return f"{budget} has no room for it; about {enough_s:.0f} s (budget_s) would measure it too"

    def _needed(self, cell: CellRow) -> frozenset[str]:
        """Return the keys of a cell's stages that count, and of those that they build on."""
        if cell.name not in self._needs:
            found: set[str] = set()
            waiting = [str(key) for key in cell.stages.values()]
            while waiting:
                key = waiting.pop()
                if key not in found:
                    found.add(key)
                    waiting += self._plan.stages[key].parents
            self._needs[cell.name] = frozenset(key for key in found if spends(self._plan.stages[key]))
        return self._needs[cell.name]

    def _ordered(self, cells: Sequence[CellRow]) -> list[CellRow]:
        """Order a workload's cells: first each backend with the uncompressed model, the cheapest first.

        Then what differs from that in the value of one more axis, then of two.
        """
        plain = dict(cells[0].axes)
        if any(cell.axes.get("compression") == "none" for cell in cells):
            plain["compression"] = "none"

        def place(cell: CellRow) -> tuple[int, float]:
            others = sum(cell.axes.get(axis) != value for axis, value in plain.items() if axis != "backend")
            return others, self._cost_s(self._needed(cell))

        return sorted(cells, key=place)


def spends(stage: StageRow) -> bool:
    """Say whether a stage takes from the budget. Training does not: its own budget is one of steps."""
    row = STAGES.known(stage.kind)
    return stage.timed or (row is not None and row.works != "trains")
