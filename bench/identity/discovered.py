"""Records the inputs of a stage while it works: the user's source, files, packages and loaded data.

Build systems find out the same way what their outputs depend on (ninja's depfiles, ccache's direct mode). A
hook of the interpreter's audits (PEP 578) sees every file that Python opens and every folder that it lists;
what a library opens by itself, as safetensors does, shows in the loaded data and models, whose digests
`note` takes. Our own source and the versions of libraries known beforehand are in the key already.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from bench.digests import OUR_PACKAGES, Signature, file_digest, imported_names, signature, versions_of
from bench.identity.imports import Imports, imports_of
from bench.identity.places import Places, package_folders, recorded_path
from techniques.registry import REFERENCED

NOT_THERE = ""
"""The digest of a file or folder that does not exist."""

UNKNOWN = "written while the stage worked"
"""The digest of a file that was written meanwhile: no content has it, so the file counts as changed."""

OUTPUTS = "the outputs of"
"""The prefix of loaded data that is compared like outputs, within a tolerance."""

Load = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""Loads what a stage of these settings begins with, and returns the digests that are noted of it."""


@dataclass(frozen=True)
class File:
    """A file as it was read: the digest of its content, and a signature for a quick comparison."""

    digest: str
    signature: Signature | None = None


@dataclass(frozen=True)
class Inputs:
    """The inputs of a stage that its key does not cover. Paths below the working folder are relative to it.

    `folders` have the digests of their entries' names, `packages` the versions of their distributions,
    `loaded` the digests of data and models as they were in memory, `imports` says where modules lie.
    """

    files: Mapping[str, File] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    loaded: Mapping[str, str] = field(default_factory=dict)
    imports: Imports = field(default_factory=Imports)


class Recorder:
    """Records the inputs of a stage within its context; forked children are included."""

    def __init__(self, results: Path, *, hears_files: bool = True) -> None:
        self._places = Places(results)
        self._hears_files = hears_files
        self._loaded: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._before: set[str] = set()
        self._began_ns = time.time_ns()

    def __enter__(self) -> Recorder:
        self._before = set(sys.modules)
        REFERENCED.clear()
        _listeners.append(self)
        if self._hears_files and not _listening:
            _listening.append(True)
            sys.addaudithook(_hear)
        return self

    def __exit__(self, *_: object) -> None:
        _listeners.remove(self)

    @property
    def loaded(self) -> Mapping[str, str]:
        """Return the digests of what was loaded, by what it is."""
        return self._loaded

    def hear(self, act: str, path: str) -> None:
        """Note that a path was read, listed or written; a line of the log, which forked children share."""
        if self._hears_files and (act, path) not in self._said:
            self._said.add((act, path))
            # Not resolved: a link may lead elsewhere the next time.
            entry = f"{act}{os.path.abspath(path)}\0".encode("utf-8", "surrogateescape")  # noqa: PTH100
            os.write(self._log.fileno(), entry)

    def hear_named(self, act: str, path: Path) -> None:
        """Note that a path was read or listed that the user named: it counts wherever it lies."""
        self._places.name(os.path.abspath(path))  # noqa: PTH100
        self.hear(act, str(path))

    def note(self, what: str, digest: str) -> None:
        """Note the digest of data or of a model that was loaded."""
        self._loaded[what] = digest

    def inputs(self) -> Inputs:
        """Return the recorded inputs, in their present state."""
        heard = self._heard()
        written = heard["w"]
        modules = self._user_modules()
        passed = {path for path in heard["p"] if not self._is_new(path)}
        read = {*heard["r"], *passed, *map(str, modules.values())} - written
        folders = heard["l"] - {str(Path(path).parent) for path in written}
        return Inputs(
            {recorded_path(path): self._file(Path(path)) for path in self._counted(read)},
            {recorded_path(path): folder_digest(Path(path)) for path in self._counted(folders)},
            versions_of(self._packages(heard["r"], modules.values())),
            dict(self._loaded),
            imports_of(modules, self._imported(modules), self._places),
        )

    def modules(self) -> dict[str, str]:
        """Return the digests of the user's modules that took part, by path."""
        return {recorded_path(str(path)): self._file(path).digest for path in self._user_modules().values()}

    def _counted(self, paths: Iterable[str]) -> list[str]:
        return [path for path in sorted(paths) if self._places.counts(path)]

    def _is_new(self, path: str) -> bool:
        """Say whether a file was made by the stage, as the output of a program that it ran."""
        try:
            return signature(Path(path))[-1] > self._began_ns
        except OSError:
            return True

    def _file(self, path: Path) -> File:
        try:
            now = signature(path)
            # Its times are of the kernel's clock, which no program sets back with the file.
            return File(UNKNOWN) if now[-1] > self._began_ns else File(file_digest(path), now)
        except OSError:
            return File(NOT_THERE)

    def _heard(self) -> dict[str, set[str]]:
        heard: dict[str, set[str]] = {act: set() for act in "rlwp"}
        self._log.seek(0)
        for entry in self._log.read().split(b"\0"):
            if entry:
                line = entry.decode("utf-8", "surrogateescape")
                heard[line[0]].add(line[1:])
        return heard

    def _imported(self, modules: Mapping[str, Path]) -> set[str]:
        return {
            used for name, path in modules.items() for used in _absolute(_names_in(path), sys.modules[name])
        }

    def _user_modules(self) -> dict[str, Path]:
        """Return the files of the user's modules that came in meanwhile, or that a name referred to."""
        new = {name for name in sys.modules if name not in self._before}
        waiting = [*new, *REFERENCED]
        found: dict[str, Path] = {}
        while waiting:
            name = waiting.pop()
            path = self._user_file(sys.modules.get(name))
            if name not in found and path is not None:
                found[name] = path
                waiting += self._imported({name: path})
        return dict(sorted(found.items()))

    def _user_file(self, module: ModuleType | None) -> Path | None:
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith((".py", *EXTENSION_SUFFIXES)):
            return None
        path = Path(file).absolute()
        is_users = path.is_file() and self._places.counts(str(path))
        return path if is_users and (path.suffix == ".py" or not self._is_new(str(path))) else None

    def _packages(self, read: Iterable[str], modules: Iterable[Path]) -> set[str]:
        """Return the top-level packages that were imported meanwhile, by the user's modules, or read from."""
        new = {name.partition(".")[0] for name in sys.modules if name not in self._before}
        named = {name.partition(".")[0] for path in modules for name in _names_in(path)}
        inside = [
            Path(path).relative_to(place).parts[0]
            for path in read
            for place in package_folders()
            if Path(path).is_relative_to(place) and Path(path) != place
        ]
        return (new | named | {part.partition(".")[0] for part in inside}) - set(OUR_PACKAGES)


_listeners: list[Recorder] = []
_listening: list[bool] = []


def recorder() -> Recorder | None:
    """Return the recorder of the stage at work, None outside one."""
    return _listeners[-1] if _listeners else None


def note_loaded(what: str, digest: Callable[[], str]) -> None:
    """Note data or a model that the stage at work has loaded; outside a stage nothing is computed.

    What has no digest is not noted.
    """
    at_work = recorder()
    found = digest() if at_work is not None else ""
    if at_work is not None and found:
        at_work.note(what, found)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _listeners:
        return
    if event in _PROGRAMS:
        with contextlib.suppress(Exception):
            for path in _passed(event, arguments):
                _listeners[-1].hear("p", path)
    if event not in _EVENTS:
        return
    path = arguments[0] if arguments and arguments[0] is not None else "."
    if not isinstance(path, str | bytes | os.PathLike):
        return  # a descriptor: whoever opened it was heard
    if _is_about_code(sys._getframe(1)):
        return
    with contextlib.suppress(Exception):  # a hook that raises would stop the opening
        act = _written(arguments[2]) if event == "open" else _EVENTS[event]
        _listeners[-1].hear(act, os.fsdecode(path))


_ABOUT_CODE = ("linecache", "importlib.metadata", "importlib_metadata")
"""Modules that print lines of code or look up packages. Once imported, the last stands in for the second."""

_FRAMES = 4
"""How many calls lie at most between a function of `_ABOUT_CODE` and the opening of its file."""


def _is_about_code(frame: FrameType | None) -> bool:
    """Say whether a file is opened to import a module, print its lines or look up what is installed.

    Modules are found in `sys.modules`, and packages by their versions.
    """
    if frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        return True
    for _ in range(_FRAMES):
        if frame is None:
            return False
        name = str(frame.f_globals.get("__name__"))
        if any(name == module or name.startswith(f"{module}.") for module in _ABOUT_CODE):
            return True
        frame = frame.f_back
    return False


_EVENTS = {"open": "r", "sqlite3.connect": "r", "os.listdir": "l", "os.scandir": "l"}


_PROGRAMS = {"ctypes.dlopen", "os.exec", "os.posix_spawn", "os.system", "subprocess.Popen"}


def _passed(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """Yield the files that another program or a library of C is, or is told of."""
    folder = arguments[2] if event == "subprocess.Popen" else None
    words_of = arguments[1] if event in ("subprocess.Popen", "os.exec", "os.posix_spawn") else ()
    words = [arguments[0], *([words_of] if isinstance(words_of, str | bytes | os.PathLike) else words_of)]
    for word in map(os.fsdecode, filter(None, words)):
        for part in {word, *re.split(r"[\s=;|<>&'\"]+", word)}:
            path = Path(os.fsdecode(folder or "."), part)
            if part and path.is_file():
                yield str(path)


def _written(flags: object) -> str:
    only_writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_TRUNC | os.O_EXCL)
    return "w" if only_writes else "r"


def folder_digest(path: Path) -> str:
    """Return a hash over the names of a folder's entries, `NOT_THERE` where there is none."""
    try:
        names = sorted(os.fsencode(entry.name) for entry in os.scandir(path) if entry.name != "__pycache__")
    except (OSError, ValueError):
        return NOT_THERE
    return hashlib.sha256(b"\0".join(names)).hexdigest()


def _names_in(path: Path) -> tuple[str, ...]:
    return imported_names(path) if path.suffix == ".py" else ()


def _absolute(names: Iterable[str], module: ModuleType) -> Iterator[str]:
    """Yield imported names in full: a relative one stands in its module's package."""
    package = (getattr(module, "__package__", "") or "").split(".")
    for name in names:
        dots = len(name) - len(name.lstrip("."))
        base = package[: len(package) - dots + 1] if dots else []
        yield ".".join([*base, name[dots:]]) if name[dots:] else ".".join(base)
