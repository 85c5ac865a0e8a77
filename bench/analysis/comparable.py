"""Decides whether two records are comparable, by their environments."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.formatting import counted

MACHINE = "machine"
"""Key of an environment that names its machine, where the record was merged from another store."""

DECIDES = (
    *("cpu", "cpu_limits", "accelerators", "threads", "cpu_quota", "allocator", "variables"),
    *("libraries", "python"),
)
"""Keys of an environment that must be equal for seeded values and timings to be comparable.

Not among them: the operating system's version, memory, the revision, what else ran (a launch's own record).
"""


def deciding(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an environment that decides comparability."""
    return {key: environment[key] for key in DECIDES if key in environment}


def fingerprint(environment: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that comparable environments share."""
    text = json.dumps(deciding(environment), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the deciding keys in which two environments differ."""
    return [key for key in DECIDES if before.get(key) != after.get(key)]


def changed_versions(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what differs between the versions of libraries, those that both have first: `torch 1 -> 2`."""
    changed = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    changed.sort(key=lambda name: not (name in before and name in after))
    return [f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}" for name in changed]


@dataclass(frozen=True)
class Seen:
    """An environment that launches of a run saw: how many did, and whether one of them was the run's own.

    Launches that are none of its own are taken over from another run, which may have had other libraries.
    """

    content: Mapping[str, Any]
    launches: int = 1
    own: bool = True


def how_decisive(seen: Seen) -> tuple[bool, int, int, int, str]:
    """Return a key to sort by, largest first: what a run is comparable with is its most decisive environment.

    It is that of its timed launches: they are its own, and have all boards and threads. Among those that are
    alike in this, what most launches saw decides, then the fingerprint: never the order they are read in.
    """
    content = seen.content
    boards, threads = len(accelerator_names(content)), content.get("threads") or 0
    return seen.own, boards, threads, seen.launches, fingerprint(content)


def machine_name(environment: Mapping[str, Any]) -> str:
    """Return the kind of machine for people: its CPU's model, how many cores were used, its accelerators.

    Of a record that was merged from another store, it is the name that its machine got there.
    """
    if environment.get(MACHINE):
        return str(environment[MACHINE])
    return _named(environment, environment.get("cpus"), accelerator_names(environment))


def machine_names(environments: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the machine of each environment of a run, by the same keys.

    Stages of one machine use one of its cores or all, and only those of an accelerator list it: the machine
    has the most cores and accelerators that any of its stages used.
    """
    groups: defaultdict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for environment in environments.values():
        groups[_processor(environment)].append(environment)
    names = {processor: _name_of_all(alike) for processor, alike in groups.items()}
    return {key: names[_processor(environment)] for key, environment in environments.items()}


def _processor(environment: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what environments of one machine have in common, however much of it their stages used."""
    cpu = environment.get("cpu")
    cores = cpu.get("logical_cores") if isinstance(cpu, Mapping) else None
    return environment.get(MACHINE), cpu_model(environment), cores


def _name_of_all(alike: Sequence[Mapping[str, Any]]) -> str:
    cores = max((environment.get("cpus") or 0 for environment in alike), default=0)
    boards = max(map(accelerator_names, alike), key=len)
    return machine_name(alike[0]) if alike[0].get(MACHINE) else _named(alike[0], cores, boards)


def _named(environment: Mapping[str, Any], cores: int | None, accelerators: Sequence[str]) -> str:
    found = [cpu_model(environment) or "unknown CPU", *([counted(cores, "core")] if cores else [])]
    return ", ".join([*found, *accelerators])


def cpu_model(environment: Mapping[str, Any]) -> str:
    """Return the model of an environment's processor, empty where it is unknown."""
    cpu = environment.get("cpu")
    return str(cpu.get("model", "")) if isinstance(cpu, Mapping) else str(cpu or "")


def accelerator_names(environment: Mapping[str, Any]) -> list[str]:
    """Return the names of an environment's accelerators."""
    return [str(board.get("name", "?")) for board in environment.get("accelerators") or ()]
