"""Digests of files, of the source that a module leads to, and of the libraries that it uses.

A digest is kept for as long as its file is the same file: a process that lives long, as a notebook does,
sees what was edited.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from pathlib import Path

from bench.errors import BenchError

OUR_PACKAGES = ("bench", "techniques")
DISTRIBUTION = "dl-efficiency-bench"

_NO_PART = frozenset(
    (
        *("bench.errors", "bench.formatting", "bench.metrics", "bench.plugins", "bench.records"),
        *("bench.workloads.rows", "techniques.registry"),
    )
)
"""Modules of words and records. What a row of a table says reaches a key as a setting."""

_MAX_SOURCE_BYTES = 2**24

_ALWAYS = ("numpy", "torch")
"""What every stage computes with, whether or not its own module says so."""

MAX_GIB = 32
"""GiB that a model or data set may have, unless the variable says otherwise: a few minutes of hashing."""

MAX_GIB_VARIABLE = "BENCH_MAX_INPUT_GIB"

Signature = tuple[int, int, int, int]


def signature(path: Path) -> Signature:
    """Return what changes when a file is written: inode, size in bytes, times of change in ns."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, of Python source that of its code: comments are none of it.

    A file too large to be read is known by its size and time. Raises OSError of what is no file: a device or
    a pipe would be read for ever.
    """
    return _file_digest(path, signature(path))


def max_input_gib() -> float:
    """Return how many GiB a model or data set may have; raises BenchError where the variable is no number."""
    text = os.environ.get(MAX_GIB_VARIABLE) or str(MAX_GIB)
    try:
        most = float(text)
    except ValueError:
        most = -1.0
    if not 0 < most < 2**40:
        raise BenchError(f"{MAX_GIB_VARIABLE} must be a number of GiB above 0, got {text!r}")
    return most


class Sources:
    """Looks each module up once, for as long as one plan is made: a large one asks for few modules often."""

    def __init__(self) -> None:
        self.digest = cache(source_digest)
        self._used = cache(_used_by)
        self._versions = cache(self._versions_for)

    def versions(self, modules: Iterable[str]) -> dict[str, str]:
        """Return the versions of the distributions that modules use."""
        return self._versions(tuple(modules))

    def _versions_for(self, modules: tuple[str, ...]) -> dict[str, str]:
        return _versions_used(map(self._used, modules))


def source_digest(module: str) -> str:
    """Return a hash over the code of a module of ours, given by name or file, and of all it leads to.

    It is a SHA-256, 64 hexadecimal digits; comments do not count. Raises OSError where a file cannot be read.
    """
    digest = hashlib.sha256()
    for name, path in sorted(closure(module).items()):
        digest.update(name.encode() + b"\0" + file_digest(path).encode())
    return digest.hexdigest()


def closure(module: str, *, lazily: bool = True) -> dict[str, Path]:
    """Return the files of a module and of every module of ours that it leads to, by name.

    Without `lazily` those are left out that only a function imports.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if name in found or name in _NO_PART else _source(name)
        if path is not None:
            found[name] = path
            names = imported_names(path, lazily=lazily)
            waiting += [used for used in names if used.partition(".")[0] in OUR_PACKAGES]
    return found


def library_versions(modules: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions that modules use, by name.

    Those are what the modules import anywhere, and what the modules of ours that come with them import: a
    function of another module may have a library that this work never comes to.
    """
    return _versions_used(map(_used_by, modules))


def _used_by(module: str) -> frozenset[str]:
    """Return the top-level packages that a module imports, or that come with it."""
    source = _source(module)
    used = {module, *(imported_names(source) if source else ())}
    for path in closure(module, lazily=False).values():
        used.update(imported_names(path, lazily=False))
    return frozenset(name.partition(".")[0] for name in used)


def _versions_used(packages: Iterable[frozenset[str]]) -> dict[str, str]:
    return versions_of(frozenset(_ALWAYS).union(*packages) - set(OUR_PACKAGES))


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions that top-level packages come from, by their names."""
    names = sorted({name for package in packages for name in _distributions().get(package, ())})
    return {name: found for name, found in versions_of_distributions(names).items() if found}


def versions_of_distributions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of distributions by name, empty for one that is not installed."""
    return {name: version_of(name) or "" for name in names}


@cache
def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution, None where it is not installed."""
    try:
        return version(distribution)
    except (PackageNotFoundError, ValueError):  # ValueError of an empty name
        return None


def imported_names(path: Path, *, lazily: bool = True) -> tuple[str, ...]:
    """Return the modules that a file imports, but for type checkers, by their full names.

    Without `lazily` those are left out that only a function imports. Of our packages a `from package import
    name` stands for the module of that name only: a package's own file re-exports. Relative ones keep dots.
    """
    return _imported_names(path, signature(path), lazily)


@lru_cache(maxsize=4096)
def _file_digest(path: Path, sign: Signature) -> str:
    if not path.is_file():
        raise OSError(errno.EINVAL, "not a file", str(path))
    if path.suffix == ".py" and path.stat().st_size <= _MAX_SOURCE_BYTES:
        try:
            return hashlib.sha256(ast.dump(_parsed(path, sign)).encode("utf-8", "surrogatepass")).hexdigest()
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # no Python after all: its bytes stand for it
    if path.stat().st_size > max_input_gib() * 2**30:
        return hashlib.sha256(str(sign).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=256)
def _parsed(path: Path, _: Signature) -> ast.Module:
    return ast.parse(path.read_bytes())


@lru_cache(maxsize=4096)
def _imported_names(path: Path, sign: Signature, lazily: bool) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(_names(_statements(_parsed(path, sign), lazily))))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


_HOLDING_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)


def _statements(tree: ast.AST, lazily: bool) -> Iterator[ast.AST]:
    """Yield every statement but what only a type checker reads; without `lazily`, also not in functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, _HOLDING_STATEMENTS):
            continue
        if isinstance(node, ast.If) and _is_for_type_checkers(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazily:
            continue
        yield node
        yield from _statements(node, lazily)


def _is_for_type_checkers(test: ast.expr) -> bool:
    names = (getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(test))
    return "TYPE_CHECKING" in names


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            dot = "" if module.endswith(".") else "."
            parts = [f"{module}{dot}{alias.name}" for alias in node.names]
            if _is_our_package(module):
                yield from (part for part in parts if _source(part) is not None)
            elif module.partition(".")[0] in OUR_PACKAGES:
                yield module
            else:
                yield from (module, *parts)


def _is_our_package(module: str) -> bool:
    source = _source(module) if module.partition(".")[0] in OUR_PACKAGES else None
    return source is not None and source.name == "__init__.py"


def _source(module: str) -> Path | None:
    """Return the file of a module of ours or of a given file, None of any other."""
    if module.endswith(".py"):
        return Path(module)
    if module.partition(".")[0] not in OUR_PACKAGES:
        return None
    return _found(module)


@cache
def _found(module: str) -> Path | None:
    try:
        # Finding a module imports its packages; ours are light.
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def is_ours(module: str) -> bool:
    """Say whether a module, given by name or file, is one of this project."""
    if not module.endswith(".py"):
        return module.partition(".")[0] in OUR_PACKAGES
    folders = [
        Path(place) for package in OUR_PACKAGES for place in getattr(sys.modules.get(package), "__path__", ())
    ]
    return any(Path(module).is_relative_to(folder) for folder in folders)


@cache
def _distributions() -> dict[str, list[str]]:
    """Return the distributions that hold each top-level package.

    The answer is that of `importlib.metadata.packages_distributions`, which makes a path of every file that
    is installed and takes a second for it.
    """
    holding: dict[str, list[str]] = {}
    for distribution in distributions():
        for name in _top_levels(distribution):
            holding.setdefault(name, []).append(distribution.metadata["Name"])
    return holding


def _top_levels(distribution: Distribution) -> set[str]:
    declared = (distribution.read_text("top_level.txt") or "").split()
    if declared:
        return set(declared)
    record = distribution.read_text("RECORD")
    paths = [line.partition(",")[0].strip('"') for line in record.splitlines()] if record else []
    paths = paths or [str(path) for path in distribution.files or ()]
    return {path.partition("/")[0].removesuffix(".py") for path in paths if path.endswith(".py")}
