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
from techniques.registry import split_reference


def make_key(
    kind: str,
    settings: Mapping[str, Any],
    parents: Mapping[str, str],
    references: Iterable[str],
    device: str,
    libraries: Iterable[str] = (),
    sources: Sources | None = None,
) -> str:
    """Return the key of a stage, 64 hexadecimal digits.

    `references` name what does the work, as `module:attribute` or `file.py:attribute`, and `libraries`
    further modules that it needs. `sources` caches what it looked up for other keys.
    """
    sources = sources or Sources()
    modules = sorted({split_reference(entry)[0] for entry in references})
    content = {
        "kind": kind,
        "settings": dict(settings),
        "parents": dict(parents),
        # The user's modules are recorded with the artifact instead, so that a reason can name them.
        "sources": {module: sources.digest(module) if is_ours(module) else "" for module in modules},
        "libraries": sources.versions([*(name for name in modules if not name.endswith(".py")), *libraries]),
        "device": device,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def device_kind(device: str, cpus: int) -> str:
    """Return what decides a device's results: the CPU's kind and the number of cores, or the GPU's name."""
    if device in ("rocm", "mps", "xpu", "tpu"):
        return f"{device}, on {kind_of_processor()}"
    if device == "cuda":
        names = list(dict.fromkeys(str(board["name"]) for board in describe_accelerators()[0]))
        # NVML and CUDA number boards differently, so with several kinds the choice is part of the key.
        chosen = f", visible {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}" if len(names) > 1 else ""
        return f"cuda: {' | '.join(names) or 'unknown'}{chosen}"
    return f"cpu: {kind_of_processor()}, {cpus} cores"
