"""Records where the user's imports lead: a new file earlier on the path changes what is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES

from bench.digests import OUR_PACKAGES
from bench.identity.places import Places, below, library_folders, recorded_path

LIBRARY = "a library"
"""Where the modules of installed packages and of Python lie: it differs between machines."""

NOWHERE = ""

_SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)


@dataclass(frozen=True)
class Imports:
    """The files of the modules that the user's source imports, by name; `NOWHERE` for a missing module.

    `searched` has the user's folders that are searched, by package; the empty name stands for `sys.path`.
    """

    found: Mapping[str, str] = field(default_factory=dict)
    searched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Listings(dict[str, frozenset[str]]):
    """The names in folders, each listed once for as long as this lives."""

    def __missing__(self, folder: str) -> frozenset[str]:
        try:
            self[folder] = frozenset(os.listdir(folder))  # noqa: PTH208
        except OSError:
            self[folder] = frozenset()
        return self[folder]


def imports_of(modules: Iterable[str], imported: Iterable[str], places: Places) -> Imports:
    """Return where the user's modules and what they import would be found."""
    found: dict[str, str] = {}
    searched: dict[str, tuple[str, ...]] = {}
    listings = Listings()
    requested = set(imported)
    for package, name in {step for whole in {*modules, *requested} for step in _steps(whole)}:
        path = sys.modules[package].__path__ if package else sys.path
        absolute = [os.path.abspath(place) for place in path]  # noqa: PTH100
        searched[package] = tuple(
            recorded_path(place) for place in absolute if not places.are_libraries(place)
        )
        place = found_in(name, searched[package], listings)
        if place or name in requested or package:  # a file that was given by its path has no such name
            found[name] = place
    return Imports(dict(sorted(found.items())), dict(sorted(searched.items())))


def first_moved(imports: Imports, listings: Listings) -> str:
    """Return the first module that lies elsewhere now, empty where none does."""
    now = found_now(imports, listings)
    return next((name for name, place in imports.found.items() if now[name] != place), "")


def found_now(imports: Imports, listings: Listings) -> dict[str, str]:
    """Return where the modules lie now."""
    return {
        name: found_in(name, imports.searched.get(name.rpartition(".")[0], ()), listings)
        for name in imports.found
    }


def found_in(name: str, folders: Iterable[str], listings: Listings) -> str:
    """Return the file of a module in the first of the folders that has it, a library's after them."""
    leaf = name.rpartition(".")[2]
    for folder in folders:
        place = _found_in(leaf, folder, listings)
        if place:
            return os.path.normpath(place)
    libraries = () if "." in name else library_folders()
    return LIBRARY if any(_found_in(leaf, folder, listings) for folder in libraries) else NOWHERE


def _found_in(leaf: str, folder: str, listings: Listings) -> str:
    names = listings[folder]
    inside = f"{folder}/{leaf}"
    if leaf in names:
        for suffix in _SUFFIXES:
            if f"__init__{suffix}" in listings[inside]:
                return f"{inside}/__init__{suffix}"
    return next((inside + suffix for suffix in _SUFFIXES if leaf + suffix in names), "")


def _steps(name: str) -> Iterator[tuple[str, str]]:
    """Yield what an import looks for, each with the package in which: those it is in first."""
    package = ""
    for leaf in name.split("."):
        full = f"{package}.{leaf}" if package else leaf
        if not package and (full in OUR_PACKAGES or full in sys.builtin_module_names or not full):
            return
        if package and full not in sys.modules and hasattr(sys.modules[package], leaf):
            return  # a name in the package, no module
        yield package, full
        if not hasattr(sys.modules.get(full), "__path__") or _is_library(full):
            return
        package = full


def _is_library(package: str) -> bool:
    file = getattr(sys.modules[package], "__file__", None)
    return file is not None and below(file, library_folders())
