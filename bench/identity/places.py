"""Decides which paths may be inputs of the user, rather than files of the system, a package or this suite."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

from bench.datasets.cache import cache_folder
from bench.digests import OUR_PACKAGES

_NEVER = ("/proc", "/sys")

_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/sbin"),
    *("/run/lock", "/run/log", "/run/systemd", "/run/udev"),
    *map(str, Path("/usr/local").glob("cuda*")),
    *(f"/usr/local/{name}" for name in ("bin", "include", "lib", "lib64", "sbin", "share")),
    *(f"/usr/{name}" for name in ("bin", "include", "lib", "lib32", "lib64", "libexec", "sbin", "share")),
)

_SHARED_MEMORY = "/dev/shm"


class Places:
    """Decides whether paths may be inputs of the user.

    Folders of the system do not count, unless the user works in a folder below: a container keeps its project
    in /usr/src/app, a cluster its data in /dev/shm.
    """

    def __init__(self, results: Path) -> None:
        ours = [place for name in OUR_PACKAGES for place in sys.modules[name].__path__]
        made = [results.absolute(), cache_folder("any").parent]
        self._named: set[str] = set()
        self._not_inputs = _texts([*ours, *made, *_NEVER, *_interpreter(), *package_folders()])

    def name(self, path: str) -> None:
        """Count a path that the user named, wherever it lies."""
        self._named.add(path)

    def counts(self, path: str) -> bool:
        """Return whether a path may be the user's: no path of system, package or suite, and not deleted."""
        if below(path, self._not_inputs):
            return False
        if below(path, _SYSTEM) and path not in self._named and not below(path, self._users):
            return False
        place = Path(path)
        if place.is_file() or place.is_dir():
            return True
        passing = below(path, (tempfile.gettempdir(), _SHARED_MEMORY))
        return not passing and not place.exists()

    def are_libraries(self, path: str) -> bool:
        """Return whether the modules in a folder belong to libraries."""
        return below(path, self._not_inputs)

    @cached_property
    def _users(self) -> tuple[str, ...]:
        """Return the folders that the user works in, except those that contain parts of the system."""
        worked_in = _texts([Path.cwd(), *sys.path])
        return (
            _SHARED_MEMORY,
            *(folder for folder in worked_in if not any(below(s, (folder,)) for s in _SYSTEM)),
        )


def package_folders() -> list[Path]:
    """Return where the interpreter's packages are installed."""
    named = {sysconfig.get_paths()[name] for name in ("purelib", "platlib")}
    return [Path(place) for place in {*named, *site.getsitepackages(), site.getusersitepackages()}]


@cache
def library_folders() -> tuple[str, ...]:
    """Return where modules of Python and of packages lie."""
    stdlib = sysconfig.get_paths()["stdlib"]
    return _texts([stdlib, Path(stdlib) / "lib-dynload", *package_folders()])


def recorded_path(path: str) -> str:
    """Return a path as records have it: relative to the working folder if below it."""
    place = Path(path)
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else path


def _interpreter() -> list[str]:
    """Return the folders of the standard library and of programs, and the standard library's archive."""
    stdlib = sysconfig.get_paths()["stdlib"]
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    programs = [sysconfig.get_paths()["scripts"], str(Path(sys.base_prefix) / "bin")]
    return [*programs, stdlib, sysconfig.get_paths()["platstdlib"], str(Path(stdlib).parent / archive)]


def _texts(places: Iterable[str | Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.abspath(place) for place in places))  # noqa: PTH100


def below(path: str, folders: Iterable[str]) -> bool:
    """Say whether a path is one of the folders, or lies in one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
