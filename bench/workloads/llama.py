"""The next token of a text, by a decoder as Llama's: rotary positions, grouped queries, gated layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench.datasets.shakespeare import HELD_OUT
from bench.workloads.cached_decoding import CachedDecoding, Int8CachedDecoding
from bench.workloads.language_model import cross_entropy, likelihood_and_accuracy
from bench.workloads.shakespeare_tokens import LENGTH, VOCABULARY, arrays, tokenizer
from bench.workloads.splits import data_of
from bench.workloads.workload import Data, Workload

QUERIES_PER_KEY = 3
"""Heads of queries that share keys and values (Ainslie et al. 2023, grouped-query attention)."""

_ROUNDED_TO = 32


class LlamaDecoder(nn.Module):
    """Llama's decoder (Touvron et al. 2023), `layers` of `heads` × `channels`, by transformers.

    Input (batch, time) integers under `VOCABULARY`, output (batch, time, symbols): logits of the next one.
    """

    def __init__(self, heads: int = 6, layers: int = 4, channels: int = 32) -> None:
        super().__init__()
        from transformers import LlamaConfig, LlamaForCausalLM

        width = channels * heads
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=-(-8 * width // (3 * _ROUNDED_TO)) * _ROUNDED_TO,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=1 if heads % QUERIES_PER_KEY else heads // QUERIES_PER_KEY,
            max_position_embeddings=LENGTH,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
            tie_word_embeddings=False,
        )
        self.decoder = LlamaForCausalLM(config)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of its texts, as engines want it beside a model."""
        return tokenizer()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, time, symbols)."""
        logits: torch.Tensor = self.decoder(tokens).logits
        return logits


def _data() -> Data:
    return data_of(arrays(), torch.int64)


def plays(data: Data) -> dict[str, list[str]]:
    """Return the play that each test window is from."""
    sources = arrays()["test_texts"][: len(data.test_inputs)]
    return {"play": [HELD_OUT[int(number)] for number in sources]}


def token_frequencies(data: Data) -> dict[str, float]:
    """Return the likelihood by how often each token occurs in the training set, counted from one."""
    counts = torch.bincount(data.train_inputs.flatten(), minlength=VOCABULARY).double() + 1
    scores = counts.log().expand(*data.test_inputs.shape, VOCABULARY)
    return {"token frequencies": likelihood_and_accuracy(scores, data.test_targets)["likelihood"]}


def _workload(heads: int, layers: int, channels: int) -> Workload:
    return Workload(
        data=_data,
        transform=lambda tokens: tokens,
        model=lambda: LlamaDecoder(heads, layers, channels),
        loss=cross_entropy,
        quality=likelihood_and_accuracy,
        outputs="scores:2",
        baselines=token_frequencies,
        student=lambda width: LlamaDecoder(max(1, round(heads * width)), layers, channels),
        shallow_student=lambda depth: LlamaDecoder(heads, max(1, round(layers * depth)), channels),
        generator=CachedDecoding,
        columns=plays,
        caches={"int8": Int8CachedDecoding},
    )


SHAKESPEARE_LLAMA = _workload(heads=6, layers=4, channels=32)
SHAKESPEARE_LLAMA_22M = _workload(heads=9, layers=6, channels=64)
