"""Texts as rows of numbers, by a vocabulary of words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

PADDING, UNKNOWN = 0, 1
"""Numbers of what fills a short text, and of words that the vocabulary lacks."""
RESERVED = 2


def split_words(text: str) -> list[str]:
    """Return words and punctuation marks, in lower case."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def vocabulary(texts: Iterable[str], size: int) -> dict[str, int]:
    """Number the most frequent words of these texts, as many as fit into `size` numbers."""
    counts = Counter(word for text in texts for word in split_words(text))
    frequent = counts.most_common(size - RESERVED)
    return {word: number for number, (word, _) in enumerate(frequent, RESERVED)}


def encode(texts: Sequence[str], numbers: Mapping[str, int], length: int) -> NDArray[np.int32]:
    """Return the first `length` words of each text, shape (texts, length)."""
    rows = np.full((len(texts), length), PADDING, dtype=np.int32)
    for row, text in zip(rows, texts, strict=True):
        known = [numbers.get(word, UNKNOWN) for word in split_words(text)[:length]]
        row[: len(known)] = known
    return rows
