"""Shakespeare's plays as tokens of a byte-pair encoding that was learned from the training texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import datasets
from bench.datasets.prepared import prepared

if TYPE_CHECKING:
    from bench.datasets.prepared import Arrays

VOCABULARY = 1024
LENGTH = 256
"""Tokens of a window, and the most that a prompt and its continuation may have together."""

HELD_OUT_WINDOWS = 64
END = "<end>"
"""The token of number 0, which no text has: engines want one that ends a text."""

PARTS = ("train", "validation", "test")


def learn_tokenizer(texts: Sequence[str], vocabulary: int = VOCABULARY) -> Any:
    """Return a byte-level BPE tokenizer (Sennrich et al. 2016) of the tokenizers library."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_windows(tokenizer: Any, texts: Mapping[str, str], count: int | None = None) -> tuple[Any, Any, Any]:
    """Return inputs and targets (windows, LENGTH), and each window's text by its place (windows,).

    Targets are one token on, and no window spans two texts. Of all windows `count` are taken, evenly spaced.
    """
    rows, sources = [], []
    for number, text in enumerate(texts.values()):
        tokens = np.array(tokenizer.encode(text).ids, np.int16)
        starts = range(0, len(tokens) - LENGTH, LENGTH)
        rows += [tokens[start : start + LENGTH + 1] for start in starts]
        sources += [number] * len(starts)
    chosen = np.arange(len(rows)) if count is None else np.linspace(0, len(rows) - 1, count).astype(int)
    windows = np.stack(rows)[chosen]
    return windows[:, :-1], windows[:, 1:], np.array(sources, np.int16)[chosen]


def arrays() -> Arrays:
    """Return windows of each part as `PART_inputs`, `PART_targets`, `PART_texts`, and the tokenizer."""
    return prepared("shakespeare", __file__, _make)


@cache
def tokenizer() -> Any:
    """Return the tokenizer as transformers has it, to be saved beside a model."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    written = arrays()["tokenizer"].tobytes().decode()
    marks = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(written), **marks)


def _make() -> Arrays:
    texts = datasets.load("shakespeare")
    learned = learn_tokenizer(list(texts.train.values()))
    found: dict[str, Any] = {"tokenizer": np.frombuffer(learned.to_str().encode(), np.uint8)}
    for part in PARTS:
        count = None if part == "train" else HELD_OUT_WINDOWS
        inputs, targets, sources = token_windows(learned, getattr(texts, part), count)
        found |= {f"{part}_inputs": inputs, f"{part}_targets": targets, f"{part}_texts": sources}
    return found
