"""What stages cost on a reference machine of two server cores, shipped so that a first run can be predicted.

`reference.json` was written by `python -m tests.performance.reference_costs RESULTS ...` from whole runs. It
is scaled to the user's machine by the ratio of both machines' calibrations.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from bench.costs.calibration import Calibration
from bench.costs.classes import DRIVERS, CostClass, cost_class
from bench.costs.rates import Rates
from bench.files import replace_file
from bench.records import read_as
from bench.results.store import LaunchCost

_FILE = Path(__file__).with_name("reference.json")
_SETTINGS = (
    *DRIVERS,
    *("technique", "sample_s", "target", "stops_at_target", "steps", "recover_steps", "student_steps"),
)
_DIGITS = 4
_MOST_LAUNCHES = 10
"""Of a timing: those above were repeats on a busy machine."""


@dataclass(frozen=True)
class Reference:
    """The costs of a machine: its calibration, what surrounds launches, and launches of each class."""

    calibration: Calibration
    rates: Rates
    launches: tuple[LaunchCost, ...]

    def scaled(self, here: Calibration | None) -> Reference:
        """Return the costs as they would be on the machine of another calibration; None scales nothing."""
        if here is None:
            return self
        host, arithmetic = here.host_over(self.calibration), here.arithmetic_over(self.calibration)
        launches = tuple(_scaled(cost, host, arithmetic) for cost in self.launches)
        return Reference(here, self.rates.slowed(host), launches)


@cache
def read_reference() -> Reference:
    """Return the shipped costs."""
    return read_as(Reference, json.loads(_FILE.read_bytes()))


def write_reference(reference: Reference) -> None:
    """Write what is shipped, one launch a line."""
    lines = ",\n".join(json.dumps(_short(asdict(cost)), sort_keys=True) for cost in reference.launches)
    head = json.dumps({"calibration": _rounded(asdict(reference.calibration))})[:-1]
    rates = json.dumps(_rounded(asdict(reference.rates)))
    replace_file(_FILE, f'{head}, "rates": {rates}, "launches": [\n{lines}\n]}}\n'.encode())


def condense(launches: Iterable[LaunchCost]) -> tuple[LaunchCost, ...]:
    """Return, of each class, the launch of median seconds among the first ones and among the later ones."""
    groups: defaultdict[tuple[CostClass, bool], list[LaunchCost]] = defaultdict(list)
    for cost in launches:
        groups[cost_class(cost.kind, cost.settings), cost.round > 0].append(cost)
    return tuple(_typical(groups[name]) for name in sorted(groups))


def _typical(costs: list[LaunchCost]) -> LaunchCost:
    middle = sorted(costs, key=lambda cost: cost.wall_s)[(len(costs) - 1) // 2]
    known = [cost.launches for cost in costs if cost.launches is not None]
    return replace(
        middle,
        settings={name: value for name in _SETTINGS if (value := middle.settings.get(name)) is not None},
        round=min(middle.round, 1),
        launches=min(_MOST_LAUNCHES, round(median(known))) if known else None,
    )


def _scaled(cost: LaunchCost, host: float, arithmetic: float) -> LaunchCost:
    """Scale a launch: sampling takes as long as it was told to, training as long as its steps take."""
    sampling_s = min(cost.wall_s, float(cost.settings.get("sample_s") or 0.0))
    spent = {name: cost.values.get(name, 0.0) for name in ("training_s", "evaluation_s")}
    computing_s = min(cost.wall_s - sampling_s, sum(spent.values()))
    rest_s = cost.wall_s - sampling_s - computing_s
    seconds = {name for name in cost.values if name.endswith("_s")}
    values = {name: value * (arithmetic if name in seconds else 1) for name, value in cost.values.items()}
    return replace(cost, wall_s=sampling_s + computing_s * arithmetic + rest_s * host, values=values)


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    least = {"settings": entry["settings"]}
    return {name: value for name, value in _rounded(entry).items() if value not in (None, {}, 0)} | least


def _rounded(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(value)
        if isinstance(value, Mapping)
        else float(f"{value:.{_DIGITS}g}")
        if isinstance(value, float)
        else value
        for name, value in entry.items()
    }
