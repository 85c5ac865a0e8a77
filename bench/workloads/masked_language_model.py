"""The characters that were masked in a text, by an encoder as BERT's."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import datasets
from bench.datasets.prepared import prepared
from bench.workloads.splits import data_of
from bench.workloads.text_encoder import HEAD_WIDTH
from bench.workloads.words import PADDING
from bench.workloads.workload import Data, Workload

if TYPE_CHECKING:
    from bench.datasets.prepared import Arrays

LENGTH = 64
"""Characters of a definition; what is longer is cut off."""
CHARACTERS = " " + string.ascii_lowercase + string.digits + "-',();"
UNKNOWN, MASK = 1, 2
"""What stands for other characters, and in the place of a masked one; padding is 0."""
_FIRST = 3
VOCABULARY = _FIRST + len(CHARACTERS)
MASKED_SHARE = 0.3
"""Twice BERT's: a step has twice as much to learn from (Wettig et al. 2023, arXiv:2202.08005)."""
UNMASKED = -100
"""The target of positions that do not count."""

TEST_DEFINITIONS = 1000


class MaskedLanguageModel(nn.Module):
    """BERT's encoder with rotary positions (RoFormer, Su et al. 2021), by transformers, and BERT's head.

    2 layers of `heads` × 32 channels. Input int64 (batch, LENGTH), output (batch, LENGTH, VOCABULARY): scores
    of the character at each position. Output and input share one embedding. With BERT's own positions, each
    learnt apart, it had not seen within 700 steps that neighbours matter.
    """

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        from transformers import RoFormerConfig, RoFormerModel

        width = HEAD_WIDTH * heads
        config = RoFormerConfig(
            vocab_size=VOCABULARY,
            embedding_size=width,
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            max_position_embeddings=LENGTH,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=PADDING,
        )
        self.encoder = RoFormerModel(config)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, LENGTH, VOCABULARY)."""
        states = self.encoder(
            input_ids=tokens,
            attention_mask=(tokens != PADDING).long(),
            token_type_ids=torch.zeros_like(tokens),
        ).last_hidden_state
        embedding = self.encoder.get_input_embeddings().weight
        return nn.functional.linear(self.head(states), embedding, self.bias)


def numbered(texts: Sequence[str]) -> NDArray[np.int32]:
    """Return the numbers of the texts' characters, in lower case, shape (texts, LENGTH).

    Longer texts are cut, shorter ones padded.
    """
    numbers = {character: _FIRST + place for place, character in enumerate(CHARACTERS)}
    rows = np.full((len(texts), LENGTH), PADDING, dtype=np.int32)
    for row, text in zip(rows, texts, strict=True):
        kept = text.lower()[:LENGTH]
        row[: len(kept)] = [numbers.get(character, UNKNOWN) for character in kept]
    return rows


def mask(tokens: NDArray[np.int32], seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return inputs and targets, both as `tokens`: of each text `MASKED_SHARE` is masked, at least one.

    The same characters each time a text is met; all are replaced by `MASK`, none by others as in BERT.
    """
    present = tokens != PADDING
    order = np.where(present, np.random.default_rng(seed).random(tokens.shape), np.inf)
    rank = order.argsort(axis=1).argsort(axis=1)
    masked = rank < np.maximum(1, np.rint(MASKED_SHARE * present.sum(axis=1)))[:, None]
    masked &= present
    return np.where(masked, MASK, tokens).astype(np.int32), np.where(masked, tokens, UNMASKED).astype(
        np.int32
    )


def _arrays() -> Arrays:
    texts = datasets.load("wordnet")
    parts = {
        "train": texts.train_texts,
        "test": texts.test_texts[:TEST_DEFINITIONS],
        "validation": texts.validation_texts[:TEST_DEFINITIONS],
    }
    arrays = {}
    for seed, (part, own) in enumerate(parts.items()):
        arrays[f"{part}_inputs"], arrays[f"{part}_targets"] = mask(numbered(own), seed)
    return arrays


def _data() -> Data:
    return data_of(prepared("wordnet", __file__, _arrays), torch.int64)


def masked_cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy, in nats, of what was masked; outputs (batch, LENGTH, VOCABULARY).

    Targets (batch, LENGTH) are `UNMASKED` where nothing was.
    """
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=UNMASKED)


def accuracy_and_likelihood(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return accuracy, likelihood and nats of what was masked; shapes as `masked_cross_entropy`."""
    masked = targets != UNMASKED
    scores, right = outputs[masked], targets[masked]
    accuracy = (scores.argmax(dim=1) == right).double().mean().item()
    nats = nn.functional.cross_entropy(scores.double(), right).item()
    return {"accuracy": accuracy, "likelihood": math.exp(-nats), "nats": nats}


def frequent_characters(data: Data) -> dict[str, float]:
    """Return the accuracy of the training set's most frequent character, and of that after the one before.

    Before the first one, and in no other place that counts, is padding.
    """
    train = torch.where(data.train_targets == UNMASKED, data.train_inputs, data.train_targets)
    places = (_before(train) * VOCABULARY + train).flatten()
    pairs = torch.bincount(places, minlength=VOCABULARY**2).view(VOCABULARY, VOCABULARY)
    pairs[:, PADDING] = 0
    alone = pairs.sum(dim=0).argmax()
    # Nothing is known of what follows one that is masked itself.
    after = torch.where(pairs.sum(dim=1) > 0, pairs.argmax(dim=1), alone)
    masked = data.test_targets != UNMASKED
    right = data.test_targets[masked]
    guesses = after[_before(data.test_inputs)[masked]]
    return {
        "most frequent character": (right == alone).double().mean().item(),
        "most frequent after the one before": (right == guesses).double().mean().item(),
    }


def _before(tokens: torch.Tensor) -> torch.Tensor:
    return nn.functional.pad(tokens[:, :-1], (1, 0), value=PADDING)


# No students: a teacher's scores of all characters, on all training definitions, would take 1.3 GB.
WORDNET_BERT = Workload(
    data=_data,
    transform=lambda tokens: tokens,
    model=MaskedLanguageModel,
    loss=masked_cross_entropy,
    quality=accuracy_and_likelihood,
    outputs="scores:2",
    baselines=frequent_characters,
)
