"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747): 60,000 images to train on, 10,000 to test.

It is looked for in BENCH_DATA_DIR, in the system's folder of data sets, then in the cache. Wherever it
lies, its content must have the known hashes. `fetch` fills the cache from upstream, else from Debian.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.datasets import Images, sources
from bench.datasets.cache import cache_folder, locked, remember, verified
from bench.datasets.idx import IdxFile
from bench.errors import DataError
from bench.files import replace_file

Say = Callable[[str], None]

NAME = "fashion-mnist"
PACKAGE = "dataset-fashion-mnist"
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
UPSTREAM = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
# What gzip may add to content that does not shrink.
GZIP_BYTES = 1_024

# In the order of the fields of Images.
FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)


def ways() -> str:
    """Say how to get the data set by hand."""
    return (
        f"set BENCH_DATA_DIR to a folder that has it, or `apt install {PACKAGE}`, or download "
        f"{', '.join(f'{file.name}.gz' for file in FILES)} from {UPSTREAM} to {cache_folder(NAME)}"
    )


def locate() -> Path | None:
    """Return the first folder that has all four files, or None.

    Raises DataError where BENCH_DATA_DIR is no folder, or holds some of the files only.
    """
    chosen = os.environ.get("BENCH_DATA_DIR")
    own = _in_data_dir(Path(chosen).expanduser().absolute()) if chosen else None
    if own is not None:
        return own
    folders = (SYSTEM_FOLDER, cache_folder(NAME))
    return next((folder for folder in folders if not _missing(folder)), None)


def load() -> Images:
    """Return the arrays; raises DataError where the data set is not here, or a file of it is wrong."""
    folder = locate()
    if folder is None:
        raise DataError(f"{NAME} is not downloaded: run `bench data get {NAME}`, or {ways()}")
    train_images, train_labels, test_images, test_labels = (
        file.array(content) for file, content in zip(FILES, _contents(folder), strict=True)
    )
    return Images(train_images, train_labels.astype("int64"), test_images, test_labels.astype("int64"))


def fetch(say: Say) -> Path:
    """Return a folder that has all four files and whose content is right, filling the cache if need be."""
    cache = cache_folder(NAME)
    folder = locate()
    if folder is not None and folder != cache:
        _contents(folder)
        say(f"{NAME} is in {folder}")
        return folder
    try:
        with locked(cache, lambda: say(f"waiting for another process that writes to {cache}")):
            if not _is_sound(cache, say):
                _fill(cache, say)
    except OSError as error:
        raise DataError(f"{NAME} cannot be stored in {cache}: {error}; set BENCH_CACHE_DIR") from None
    say(f"{NAME} is in {cache}")
    return cache


def _missing(folder: Path) -> list[str]:
    return [file.name for file in FILES if file.within(folder) is None]


def _in_data_dir(folder: Path) -> Path | None:
    """Look in BENCH_DATA_DIR, which may lack the data set, being there for others, but not a part of it."""
    if not folder.is_dir():
        raise DataError(f"BENCH_DATA_DIR={folder}: no such folder")
    candidates = (folder, folder / NAME)
    for candidate in candidates:
        if not _missing(candidate):
            return candidate
    for candidate in candidates:
        missing = _missing(candidate)
        if len(missing) < len(FILES):
            raise DataError(f"BENCH_DATA_DIR: {candidate} lacks {', '.join(missing)} (as such or .gz)")
    return None


def _contents(folder: Path) -> list[bytearray]:
    """Return the checked contents of FILES in a folder that was found to have them."""
    return [verified(cache_folder(NAME), file.within(folder) or folder / file.name, file) for file in FILES]


def _is_sound(cache: Path, say: Say) -> bool:
    """Say whether the cache has all files and each is right. Needs the lock."""
    if _missing(cache):
        return False
    try:
        for file in FILES:
            file.read(file.within(cache) or cache / file.name)
    except DataError as error:
        say(f"{error}; downloading it again")
        return False
    return True


def _fill(cache: Path, say: Say) -> None:
    """Get all files into the cache, from the first source that has them. Needs the lock.

    They are gathered in a folder of their own and enter the cache once all of them are whole and right.
    """
    gathered = cache / ".partial"
    failures = []
    try:
        for origin, get in ((UPSTREAM, _from_upstream), (f"Debian's package {PACKAGE}", _from_debian)):
            # Also what a killed process left: only the owner of the lock comes here.
            shutil.rmtree(gathered, ignore_errors=True)
            gathered.mkdir()
            say(f"getting {NAME} from {origin}")
            try:
                _gather(get(gathered), gathered)
                break
            except DataError as error:
                failures.append(f"{origin}: {error}")
                say(failures[-1])
        else:
            raise DataError(f"{NAME} is unavailable: {ways()} ({'; '.join(failures)})")
        for file in FILES:
            (gathered / file.name).replace(cache / file.name)
            remember(cache, cache / file.name, file)
    finally:
        shutil.rmtree(gathered, ignore_errors=True)


def _gather(found: Path, gathered: Path) -> None:
    """Check and unpack the files that a source left in a folder."""
    for file in FILES:
        path = file.within(found)
        if path is None:
            raise DataError(f"lacks {file.name}")
        replace_file(gathered / file.name, file.read(path))


def _from_upstream(gathered: Path) -> Path:
    folder = gathered / "upstream"
    folder.mkdir()
    for file in FILES:
        name = f"{file.name}.gz"
        sources.download(UPSTREAM + name, folder / name, at_most_bytes=file.size_bytes + GZIP_BYTES)
    return folder


def _from_debian(gathered: Path) -> Path:
    folder = gathered / "debian"
    folder.mkdir()
    files = sources.unpack_debian_package(PACKAGE, folder)
    return files / SYSTEM_FOLDER.relative_to("/")
