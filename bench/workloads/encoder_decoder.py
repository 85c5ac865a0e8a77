"""A transformer that reads one sequence and writes another (Vaswani et al. 2017), norms before each block."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention

from techniques.parallel import TensorPlan

PADDING = 0
DROPOUT = 0.1


TRANSFORMER_PLAN = TensorPlan(
    columns=("*.*.*.query", "*.*.*.key", "*.*.*.value", "*.*.feed_forward.0"),
    rows=("*.*.*.output", "*.*.feed_forward.3"),
    counts=("*.*.self_attention.heads", "decoder.*.cross_attention.heads"),
)
"""How an `EncoderDecoder` is split over devices: heads, and inner channels of feed-forward blocks."""


class EncoderDecoder(nn.Module):
    """Scores of each next target token; input int64 (batch, source_length + target_length), the source and
    then the target shifted right; output (batch, target_length, vocabulary). Padding is 0.

    Norms come before the blocks, since a constant learning rate without warm-up fails with norms after them
    (Xiong et al. 2020). Both inputs and the output share one embedding.
    """

    def __init__(
        self, vocabulary: int, source_length: int, target_length: int, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.source_length = source_length
        self.embedding = nn.Embedding(vocabulary, width)
        positions = sinusoids(max(source_length, target_length), width)
        self.positions: torch.Tensor
        self.register_buffer("positions", positions, persistent=False)
        self.dropout = nn.Dropout(DROPOUT)
        self.encoder = nn.ModuleList(Layer(width, heads, decoder=False) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(Layer(width, heads, decoder=True) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(width)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # Scores of a normalized state then have a variance of 1, as have the embeddings once scaled.
        nn.init.normal_(self.embedding.weight, std=self.embedding.embedding_dim**-0.5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, target_length, vocabulary); tokens (batch, source_length + target_length)."""
        source, target = tokens[:, : self.source_length], tokens[:, self.source_length :]
        return self.score(self.decode(target, self.encode(source), source))

    def encode(self, source: torch.Tensor) -> torch.Tensor:
        """Return the states (batch, source_length, width) of a source (batch, source_length)."""
        states, readable = self._embed(source), _readable(source)
        for layer in self.encoder:
            states = layer(states, readable)
        normalized: torch.Tensor = self.encoder_norm(states)
        return normalized

    def decode(self, target: torch.Tensor, encoded: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Return the states (batch, length, width) after each token of a target (batch, length)."""
        states, readable = self._embed(target), _readable(source)
        for layer in self.decoder:
            states = layer(states, readable, encoded)
        normalized: torch.Tensor = self.decoder_norm(states)
        return normalized

    def score(self, states: torch.Tensor) -> torch.Tensor:
        """Return the scores of all tokens (..., vocabulary) as the next after states (..., width)."""
        return linear(states, self.embedding.weight)

    def _embed(self, tokens: torch.Tensor) -> torch.Tensor:
        scaled = self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)
        embedded: torch.Tensor = self.dropout(scaled + self.positions[: tokens.shape[1]])
        return embedded


class Layer(nn.Module):
    """Self-attention, in a decoder attention to the encoder's states, and a feed-forward block.

    Source: Vaswani et al. 2017, "Attention Is All You Need", with norms before the blocks.
    """

    def __init__(self, width: int, heads: int, decoder: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.self_norm, self.self_attention = nn.LayerNorm(width), Attention(width, heads)
        self.decoder = decoder
        if decoder:
            self.cross_norm, self.cross_attention = nn.LayerNorm(width), Attention(width, heads)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(2 * width, width)
        )

    def forward(
        self, states: torch.Tensor, readable: torch.Tensor, encoded: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the next states (batch, n, width) of states of the same shape.

        `readable` (batch, 1, 1, m) says which of the `encoded` states (batch, m, width) may be read; without
        any it says so of the layer's own.
        """
        normalized = self.self_norm(states)
        # A decoder's padding comes after its tokens, which look back only: it needs no mask.
        mask = None if self.decoder else readable
        states = states + self.dropout(self.self_attention(normalized, normalized, mask))
        if encoded is not None:
            states = states + self.dropout(self.cross_attention(self.cross_norm(states), encoded, readable))
        added: torch.Tensor = states + self.dropout(self.feed_forward(self.feed_norm(states)))
        return added


class Attention(nn.Module):
    """Multi-head attention of states (batch, n, width) to others (batch, m, width).

    `readable` (batch, 1, 1, m) says which of the others may be read; None lets the i-th read the first i.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self, states: torch.Tensor, others: torch.Tensor, readable: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the mixed states (batch, n, width)."""
        query, key, value = (
            projected.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projected in (self.query(states), self.key(others), self.value(others))
        )
        mixed = scaled_dot_product_attention(query, key, value, readable, is_causal=readable is None)
        output: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


def sinusoids(length: int, width: int) -> torch.Tensor:
    """Return the position codes (length, width) of Vaswani et al. (2017), section 3.5."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    angles = torch.arange(length).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def _readable(source: torch.Tensor) -> torch.Tensor:
    return (source != PADDING)[:, None, None, :]
