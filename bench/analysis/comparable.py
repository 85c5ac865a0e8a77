"""Decides whether two records are comparable, by their environments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

DECIDES = ("cpu", "cpu_limits", "accelerators", "threads", "cpu_quota", "allocator", "libraries", "python")
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


def of_most_threads(environments: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the environment of the stages of a run that had the most threads: the timed ones."""
    every = [dict(environment) for environment in environments]
    return max(every, key=lambda entry: entry.get("threads") or 0, default={})


def machine_name(environment: Mapping[str, Any]) -> str:
    """Return the kind of machine for people: its CPU's model, how many cores were used, its accelerators."""
    cores = environment.get("cpus")
    found = [cpu_model(environment) or "unknown CPU", *([f"{cores} cores"] if cores else [])]
    return ", ".join([*found, *accelerator_names(environment)])


def cpu_model(environment: Mapping[str, Any]) -> str:
    """Return the model of an environment's processor, empty where it is unknown."""
    cpu = environment.get("cpu")
    return str(cpu.get("model", "")) if isinstance(cpu, Mapping) else str(cpu or "")


def accelerator_names(environment: Mapping[str, Any]) -> list[str]:
    """Return the names of an environment's accelerators."""
    return [str(board.get("name", "?")) for board in environment.get("accelerators") or ()]
