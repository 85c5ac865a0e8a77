"""The tokens that were masked in a text, by an encoder as BERT's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import datasets
from bench.datasets.prepared import prepared
from bench.workloads import text_encoder
from bench.workloads.words import PADDING
from bench.workloads.workload import Data, Workload

if TYPE_CHECKING:
    from bench.datasets.prepared import Arrays

LENGTH = 32
VOCABULARY = 2000
MASK = 2
"""The token in the place of a masked one; padding is 0, what no piece of a word stands for is 1."""
MASKED_SHARE = 0.15
UNMASKED = -100
"""The target where nothing is to be told."""

TEST_DEFINITIONS = 400
"""Their scores of all tokens take 102 MB."""


class MaskedLanguageModel(nn.Module):
    """BERT's encoder and head for masked tokens (Devlin et al. 2019), 2 layers of `heads` × 32 channels.

    Input int64 (batch, LENGTH), output (batch, LENGTH, VOCABULARY): scores of the token at each position.
    Output and input share one embedding.
    """

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        width = text_encoder.HEAD_WIDTH * heads
        self.encoder = text_encoder.small(VOCABULARY, LENGTH, heads, layers=2, dropout=0.0)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states = self.head(self.encoder(tokens))
        embedding = self.encoder.bert.get_input_embeddings().weight
        return nn.functional.linear(states, embedding, self.bias)


def learn_pieces(texts: Sequence[str]) -> Any:
    """Return a tokenizer into `VOCABULARY` pieces of words, learnt from these texts: byte pairs as RoBERTa's.

    Not WordPiece, whose trainer numbers its pieces in another order each time.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    marks = ["[PAD]", "[UNK]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=marks, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=PADDING)
    return tokenizer


def mask(tokens: NDArray[np.int32], seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return inputs and targets, both as `tokens`: of each text `MASKED_SHARE` is masked, at least one token.

    The same tokens each time a text is met; all of them are replaced by `MASK`, none by others as in BERT.
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
    tokenizer = learn_pieces(texts.train_texts)

    def masked(part: Sequence[str], seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        found = tokenizer.encode_batch(list(part), add_special_tokens=False)
        return mask(np.array([each.ids for each in found], dtype=np.int32), seed)

    train_inputs, train_targets = masked(texts.train_texts, seed=0)
    test_inputs, test_targets = masked(texts.test_texts[:TEST_DEFINITIONS], seed=1)
    return {
        "train_inputs": train_inputs,
        "train_targets": train_targets,
        "test_inputs": test_inputs,
        "test_targets": test_targets,
    }


def _data() -> Data:
    found = prepared("wordnet", __file__, _arrays)
    parts = ("train_inputs", "train_targets", "test_inputs", "test_targets")
    return Data(*(torch.as_tensor(found[part].astype(np.int64)) for part in parts))


def masked_cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy, in nats, of the masked tokens; outputs (batch, LENGTH, VOCABULARY)."""
    masked = targets != UNMASKED
    return nn.functional.cross_entropy(outputs[masked], targets[masked])


def accuracy_and_likelihood(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return accuracy, likelihood and nats of the masked tokens."""
    masked = targets != UNMASKED
    scores, right = outputs[masked], targets[masked]
    accuracy = (scores.argmax(dim=1) == right).double().mean().item()
    nats = nn.functional.cross_entropy(scores.double(), right).item()
    return {"accuracy": accuracy, "likelihood": math.exp(-nats), "nats": nats}


def frequent_tokens(data: Data) -> dict[str, float]:
    """Return the accuracy of the training set's most frequent token, and of that after the token before.

    Before the first token, and in no other place that counts, is padding.
    """
    train = torch.where(data.train_targets == UNMASKED, data.train_inputs, data.train_targets)
    places = (_before(train) * VOCABULARY + train).flatten()
    pairs = torch.bincount(places, minlength=VOCABULARY**2).view(VOCABULARY, VOCABULARY)
    pairs[:, PADDING] = 0
    alone = pairs.sum(dim=0).argmax()
    # Nothing is known of what follows a token that is masked itself.
    after = torch.where(pairs.sum(dim=1) > 0, pairs.argmax(dim=1), alone)
    masked = data.test_targets != UNMASKED
    right = data.test_targets[masked]
    guesses = after[_before(data.test_inputs)[masked]]
    return {
        "most frequent token": (right == alone).double().mean().item(),
        "most frequent after the token before": (right == guesses).double().mean().item(),
    }


def _before(tokens: torch.Tensor) -> torch.Tensor:
    return nn.functional.pad(tokens[:, :-1], (1, 0), value=PADDING)


# No students: a teacher's scores of all tokens, on all training definitions, would take 25 GB.
WORDNET_BERT = Workload(
    data=_data,
    transform=lambda tokens: tokens,
    model=MaskedLanguageModel,
    loss=masked_cross_entropy,
    quality=accuracy_and_likelihood,
    baselines=frequent_tokens,
)
