"""Artifact keys: a hash of all that decides what a stage makes, and of nothing else.

That is its settings with the defaults filled in, the keys of its parents, the source of the modules that do
the work and of what they import from this project, the versions of the libraries used, and the kind of
device. No host name and no git revision: the same work has the same key everywhere.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.input_files import input_files
from bench.instruments.accelerators import describe_accelerators
from bench.instruments.processor import kind_of_processor
from techniques.registry import split_reference

OUR_PACKAGES = ("bench", "techniques")

# Tables: what a row says reaches the key as a setting, so that adding a row leaves other keys alone.
_TABLES = (
    "bench.datasets",
    "bench.errors",
    "bench.metrics",
    "bench.plugins",
    "bench.records",
    "bench.workloads",
    "bench.workloads.rows",
    "techniques.backends",
    "techniques.compression",
    "techniques.optimizers",
    "techniques.registry",
)

_LIBRARIES = ("numpy", "torch", "torchao", "onnx", "onnxruntime", "onnxscript", "tokenizers", "transformers")
_RUNTIMES = ("executorch", "jax", "jaxlib", "nncf", "openvino", "optax", "tensorrt", "torchax")
"""Libraries that only count where a stage's own code imports them."""


def make_key(
    kind: str,
    settings: Mapping[str, Any],
    parents: Mapping[str, str],
    references: Iterable[str],
    device: str,
) -> str:
    """Return the key of a stage, 64 hexadecimal digits.

    `references` name what does the work, as `module:attribute` or `file.py:attribute`.
    """
    modules = sorted({f"bench.stages.{kind}", *(split_reference(entry)[0] for entry in references)})
    content = {
        "kind": kind,
        "settings": dict(settings),
        "parents": dict(parents),
        "sources": {module: source_digest(module) for module in modules},
        "libraries": library_versions(modules),
        "device": device,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def source_digest(module: str) -> str:
    """Return a hash over a module's source and that of every module of ours it leads to, tables left out."""
    digest = hashlib.sha256()
    for name, path in sorted(_closure(module).items()):
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def library_versions(modules: Iterable[str]) -> dict[str, str]:
    """Return the versions of the libraries that decide results, and of foreign modules' own packages."""
    modules = list(modules)
    foreign = {module.partition(".")[0] for module in modules if not module.endswith(".py")}
    imported = {name for module in modules for name in _runtimes_of(module)}
    names = sorted({*_LIBRARIES, *foreign, *imported} - set(OUR_PACKAGES))
    return {name: found for name in names if (found := _version(name)) is not None}


@cache
def _runtimes_of(module: str) -> frozenset[str]:
    imported = {name.partition(".")[0] for path in _closure(module).values() for name in _imports(path)}
    return frozenset(imported & set(_RUNTIMES))


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


@cache
def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _closure(module: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name in _TABLES:
            continue
        path = _source(name)
        if path is not None:
            found[name] = path
            waiting += [name for name in _imports(path) if name.partition(".")[0] in OUR_PACKAGES]
    return found


def _source(module: str) -> Path | None:
    """Return the file of a module of ours or of a plug-in, None of any other."""
    if module.endswith(".py"):
        return Path(module)
    loaded = sys.modules.get(module)
    if module.partition(".")[0] not in OUR_PACKAGES:
        # A plug-in's module was run by path; an installed one stands in the key by its version.
        own = getattr(loaded, "__file__", None)
        return Path(own) if own and _version(module.partition(".")[0]) is None else None
    # Finding a module imports its packages; ours are light.
    spec = importlib.util.find_spec(module)
    return Path(spec.origin) if spec and spec.origin else None


@cache
def _imports(path: Path) -> list[str]:
    """Return the modules that a file imports anywhere in it, those of ours by their own names."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            # `from package import module` names a module only where there is one.
            names += [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module.partition(".")[0] in OUR_PACKAGES and _is_module(node.module, alias.name)
            ]
    return names


def _is_module(package: str, name: str) -> bool:
    spec = importlib.util.find_spec(package)
    locations = (spec.submodule_search_locations if spec else None) or []
    return any((Path(place) / f"{name}.py").is_file() for place in locations)


@cache
def path_digest(path: Path) -> str:
    """Return a hash over a file, or over the names and contents of all files below a folder.

    Raises BenchError where they are too large to be read.
    """
    digest = hashlib.sha256()
    for file in input_files(path):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
