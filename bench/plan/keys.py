"""Artifact keys: a hash of everything known in advance that decides what a stage makes.

It covers the settings with their defaults, the keys of the parents, the code of the modules of this project
that do the work, the versions of the libraries used, and the kind of device. It has no host name and no git
revision: the same work has the same key everywhere. Inputs that only the work itself shows, such as the
user's modules and files, are recorded with the artifact: see `bench.identity.reuse`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from bench.digests import Sources, is_ours
from bench.instruments.accelerators import describe_accelerators
from bench.instruments.processor import kind_of_processor
from bench.instruments.variables import deciding_variables
from techniques.registry import split_reference


class Keys:
    """Makes the keys of stages; looks up once what many stages have in common."""

    def __init__(self, sources: Sources | None = None) -> None:
        self._sources = sources or Sources()
        self._frames: dict[tuple[object, ...], tuple[str, str, str]] = {}

    def make(
        self,
        kind: str,
        settings: str,
        parents: Mapping[str, str],
        references: tuple[str, ...],
        device: str,
        libraries: tuple[str, ...] = (),
    ) -> str:
        """Return the key of a stage, 64 hexadecimal digits.

        `settings` are a JSON text with sorted keys. `references` name what does the work, as
        `module:attribute` or `file.py:attribute`, and `libraries` further modules that it needs.
        """
        asked = (kind, references, device, libraries)
        if asked not in self._frames:
            self._frames[asked] = self._frame(kind, references, device, libraries)
        first, middle, last = self._frames[asked]
        text = f"{first}{_as_json(parents)}{middle}{settings}{last}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _frame(
        self, kind: str, references: tuple[str, ...], device: str, libraries: tuple[str, ...]
    ) -> tuple[str, str, str]:
        """Return the JSON text of a key's content before, between and behind its parents and settings."""
        modules = sorted({split_reference(entry)[0] for entry in references})
        imported = [*(name for name in modules if not name.endswith(".py")), *libraries]
        # The user's modules are recorded with the artifact instead, so that a reason can name them.
        digests = {module: self._sources.digest(module) if is_ours(module) else "" for module in modules}
        known = {"device": device, "kind": kind, "libraries": self._sources.versions(imported)}
        first = json.dumps(known, sort_keys=True).removesuffix("}")
        return (
            f'{first}, "parents": ',
            ', "settings": ',
            f', "sources": {json.dumps(digests, sort_keys=True)}}}',
        )


def _as_json(parents: Mapping[str, str]) -> str:
    """Return what `json.dumps` returns, in a third of the time: roles and keys have nothing to escape."""
    return "{" + ", ".join([f'"{role}": "{parents[role]}"' for role in sorted(parents)]) + "}"


def make_key(
    kind: str,
    settings: Mapping[str, Any],
    parents: Mapping[str, str],
    references: Iterable[str],
    device: str,
    libraries: Iterable[str] = (),
    sources: Sources | None = None,
) -> str:
    """Return the key of one stage; see `Keys.make`."""
    text = json.dumps(dict(settings), sort_keys=True)
    return Keys(sources).make(kind, text, parents, tuple(references), device, tuple(libraries))


@cache
def device_kind(device: str, cpus: int) -> str:
    """Return what decides a device's results: its kind, and environment variables that change its speed."""
    variables = [f"{name}={value}" for name, value in deciding_variables().items()]
    return ", ".join([_kind(device, cpus), *variables])


def _kind(device: str, cpus: int) -> str:
    """Return the CPU's kind and the number of cores, or the GPU's name."""
    if device in ("rocm", "mps", "xpu", "tpu"):
        return f"{device}, on {kind_of_processor()}"
    if device == "cuda":
        names = list(dict.fromkeys(str(board["name"]) for board in describe_accelerators()[0]))
        # NVML and CUDA number boards differently, so with several kinds the choice is part of the key.
        chosen = f", visible {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}" if len(names) > 1 else ""
        return f"cuda: {' | '.join(names) or 'unknown'}{chosen}"
    return f"cpu: {kind_of_processor()}, {cpus} cores"
