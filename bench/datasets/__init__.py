"""Data sets: what there is, where it lies, and how to get it.

Only `fetch` goes to the network. Importing this package imports no array library: a row of the table
names its functions instead.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DATASETS", "DataSet", "Images", "fetch", "get", "load", "locate"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Images:
    """Grey images as uint8 of shape (n, height, width), and their classes as int64 of shape (n,)."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class DataSet:
    """A row of the table. `load`, `where` and `fetch` are references `module:function`.

    `size_bytes` is what lies on disk once the data set is ready to load.
    """

    name: str
    about: str
    licence: str
    size_bytes: int
    load: str
    where: str
    fetch: str


DATASETS: dict[str, DataSet] = {
    row.name: row
    for row in (
        DataSet(
            "digits",
            about="1,797 handwritten digits, 8x8, 10 classes, part of scikit-learn (Alpaydin & Kaynak 1998)",
            licence="CC-BY-4.0",
            size_bytes=57_523,
            load="bench.datasets.digits:load",
            where="bench.datasets.digits:locate",
            fetch="bench.datasets.digits:fetch",
        ),
        DataSet(
            "fashion-mnist",
            about="70,000 pictures of clothing, 28x28, 10 classes (Xiao, Rasul & Vollgraf 2017)",
            licence="MIT",
            size_bytes=54_950_048,
            load="bench.datasets.fashion_mnist:load",
            where="bench.datasets.fashion_mnist:locate",
            fetch="bench.datasets.fashion_mnist:fetch",
        ),
    )
}


def get(name: str) -> DataSet:
    """Return the row of that name; raises DataError that names the nearest one."""
    if name not in DATASETS:
        # Imported only here: importlib.metadata, which the registry needs, would double the import time.
        from techniques.registry import nearest

        raise DataError(f"unknown data set {name!r}{nearest(name, DATASETS)}")
    return DATASETS[name]


def locate(name: str) -> Path | None:
    """Return the folder or file where the data set lies now, or None; fetches nothing.

    Raises DataError where BENCH_DATA_DIR is set to a folder that is not there or lacks some of the files.
    """
    where: Path | None = _function(get(name).where)()
    return where


def fetch(name: str, say: Say = lambda line: None) -> Path:
    """Find the data set, or get it once into the cache; returns where it lies.

    `say` is told, a line at a time, what is being done. Raises DataError that names the ways to get the
    data set where none of them works here.
    """
    where: Path = _function(get(name).fetch)(say)
    return where


def load(name: str) -> Any:
    """Return the content of a data set that is here, `Images` or what its module says. Never goes to the
    network.

    Raises DataError where it is not here, naming the ways to get it, or where a file of it is wrong.
    """
    return _function(get(name).load)()


def _function(reference: str) -> Callable[..., Any]:
    module, _, name = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
