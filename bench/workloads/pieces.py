"""Texts as rows of pieces of words, by MiniLM's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench import datasets
from bench.workloads.words import PADDING


def encode_pieces(texts: Sequence[str], length: int) -> NDArray[np.int32]:
    """Return the first `length` pieces of each text, with BERT's marks of beginning and end, (texts, length).

    Raises DataError where MiniLM's files are not here.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(datasets.load("minilm") / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=PADDING)
    return np.array([found.ids for found in tokenizer.encode_batch(list(texts))], dtype=np.int32)
