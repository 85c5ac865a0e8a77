"""Probes measured once on this machine, kept in the user's cache for other results folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.costs.classes import CostClass, cost_class
from bench.costs.kept import change_kept, read_kept
from bench.costs.rates import Rates
from bench.plan.keys import Keys, device_kind, make_key
from bench.results.store import LaunchCost, StageRow
from bench.stages import STAGES

_FILE = "probes.json"
_LAUNCHES = TypeAdapter(list[LaunchCost])
_RATES = TypeAdapter(Rates | None)


def read_probes(stages: Iterable[StageRow], cpus: int) -> tuple[list[LaunchCost], Rates | None]:
    """Return the kept probes of these stages' classes, and the rates of a run with the same imports.

    A probe is identified by its class, the source of the stage, the versions of libraries and the kind of
    device. Probes of other sources or devices are ignored.
    """
    stages = list(stages)
    kept = read_kept(_FILE)
    launches, rates = _table(kept, "launches"), _table(kept, "rates")
    classes = {
        (stage.kind, cost_class(stage.kind, stage.request.settings), _device(stage, cpus))
        for stage in (stages if launches else ())
    }
    made = Keys()
    keys = {_class_key(*class_, made) for class_ in classes}
    try:
        probes = [_LAUNCHES.validate_python(launches[key]) for key in sorted(keys) if key in launches]
        rate = _RATES.validate_python(rates.get(_rates_key(stages, cpus)))
    except ValidationError:
        return [], None  # a damaged cache costs the time of new probes, nothing else
    return [cost for costs in probes for cost in costs], rate


def keep_probes(
    stages: Iterable[StageRow], cpus: int, costs: Iterable[LaunchCost], rates: Rates | None
) -> None:
    """Keep the results of probes; a cache that cannot be written only costs time."""
    stages = list(stages)
    devices = {stage.kind: _device(stage, cpus) for stage in stages}
    made = Keys()
    fresh: dict[str, list[dict[str, Any]]] = {}
    for cost in costs:
        key = _class_key(cost.kind, cost_class(cost.kind, cost.settings), devices[cost.kind], made)
        fresh.setdefault(key, []).append(asdict(cost))
    rate = {} if rates is None else {_rates_key(stages, cpus): asdict(rates)}
    change_kept(
        _FILE,
        lambda kept: {
            **kept,
            "launches": _table(kept, "launches") | fresh,
            "rates": _table(kept, "rates") | rate,
        },
    )


def _table(kept: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = kept.get(name)
    return table if isinstance(table, dict) else {}


def _class_key(kind: str, class_: CostClass, device: str, keys: Keys) -> str:
    settings = json.dumps({"class": list(class_)})
    return keys.make(kind, settings, {}, (STAGES.get(kind).run,), device)


def _rates_key(stages: Iterable[StageRow], cpus: int) -> str:
    """Return a key of everything that the servers of a run import, since imports dominate their start."""
    stages = list(stages)
    imports = {module for stage in stages for module in stage.request.server_imports}
    devices = sorted({_device(stage, cpus) for stage in stages})
    return make_key("run", {"imports": sorted(imports)}, {}, (), ", ".join(devices))


def _device(stage: StageRow, cpus: int) -> str:
    return device_kind(stage.request.device, cpus)
