"""Texts with a class each, split so that no text is in two parts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, and their classes as int64 of shape (n,)."""

    train_texts: tuple[str, ...]
    train_labels: NDArray[np.int64]
    validation_texts: tuple[str, ...]
    validation_labels: NDArray[np.int64]
    test_texts: tuple[str, ...]
    test_labels: NDArray[np.int64]


def split(pairs: Iterable[tuple[str, int]], test_count: int) -> LabelledTexts:
    """Hold out `test_count` of these texts with their classes for the test, and as many for validation.

    They are chosen and ordered by a hash of their words. Of texts that differ in case, spaces and marks alone
    the first is kept. The first texts of each part are as good a sample of it as any.
    """
    import numpy as np

    kept: dict[str, tuple[str, int]] = {}
    for text, label in pairs:
        kept.setdefault(_words(text), (text, label))
    ordered = [kept[words] for words in sorted(kept, key=lambda words: sha256(words.encode()).digest())]
    texts = tuple(text for text, _ in ordered)
    labels = np.array([label for _, label in ordered], dtype=np.int64)
    test, validation = slice(test_count), slice(test_count, 2 * test_count)
    train = slice(2 * test_count, None)
    return LabelledTexts(
        *(texts[train], labels[train]),
        *(texts[validation], labels[validation]),
        *(texts[test], labels[test]),
    )


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
