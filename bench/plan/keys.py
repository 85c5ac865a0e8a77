"""Artifact keys: a hash of all that is known beforehand to decide what a stage makes, and of nothing else.

That is its settings with the defaults filled in, the keys of its parents, the code of our modules that do the
work and of what they import from this project, the versions of the libraries used, and the kind of device. No
host name and no git revision: the same work has the same key everywhere. What only the work itself shows, the
user's modules and the files that it read, is kept with the artifact: see `bench.identity.reuse`.
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
    modules that it needs beside what these import. `sources` knows what it looked up for other keys.
    """
    sources = sources or Sources()
    modules = sorted({split_reference(entry)[0] for entry in references})
    content = {
        "kind": kind,
        "settings": dict(settings),
        "parents": dict(parents),
        # The user's own are kept with what they lead to: so a reason can name them.
        "sources": {module: sources.digest(module) if is_ours(module) else "" for module in modules},
        "libraries": sources.versions([*(name for name in modules if not name.endswith(".py")), *libraries]),
        "device": device,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def device_kind(device: str, cpus: int) -> str:
    """Return what decides a device's results: the CPU's kind and how many cores work, or the GPU's name."""
    if device in ("rocm", "mps", "xpu", "tpu"):
        return f"{device}, on {kind_of_processor()}"
    if device == "cuda":
        names = list(dict.fromkeys(str(board["name"]) for board in describe_accelerators()[0]))
        # NVML and CUDA number boards differently: of several kinds only the choice tells which it is.
        chosen = f", visible {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}" if len(names) > 1 else ""
        return f"cuda: {' | '.join(names) or 'unknown'}{chosen}"
    return f"cpu: {kind_of_processor()}, {cpus} cores"
