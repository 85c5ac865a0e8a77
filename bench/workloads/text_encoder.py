"""Encoders of text as BERT's (Devlin et al. 2019), by transformers: small with new weights, or MiniLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import nn

from bench import datasets
from bench.workloads.words import PADDING

if TYPE_CHECKING:
    from transformers import BertConfig

HEAD_WIDTH = 32


class TextEncoder(nn.Module):
    """BERT's encoder; input int64 (batch, length), output (batch, length, width). Padding is not read."""

    def __init__(self, config: BertConfig) -> None:
        from transformers import BertModel

        super().__init__()
        self.width: int = config.hidden_size
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return states (batch, length, width)."""
        states: torch.Tensor = self.bert(
            input_ids=tokens,
            attention_mask=(tokens != PADDING).long(),
            # All of one segment. Left out, they would be gathered from a buffer, which exports worse.
            token_type_ids=torch.zeros_like(tokens),
        ).last_hidden_state
        return states


def mean_state(encoder: TextEncoder, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean of an encoder's states over all tokens (batch, length) but padding, (batch, width)."""
    states = encoder(tokens)
    present = (tokens != PADDING).unsqueeze(2).to(states.dtype)
    mean: torch.Tensor = (states * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)
    return mean


def small(vocabulary: int, length: int, heads: int, layers: int, dropout: float) -> TextEncoder:
    """Return an encoder with new weights: `HEAD_WIDTH` channels a head, feed-forward layers 4 times wider."""
    from transformers import BertConfig

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=HEAD_WIDTH * heads,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * HEAD_WIDTH * heads,
        max_position_embeddings=length,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return TextEncoder(config)


def minilm() -> TextEncoder:
    """Return MiniLM-L6 (Wang et al. 2020) with its trained weights, 12 heads of 32 channels.

    Raises DataError where the weights are not here.
    """
    from transformers import BertConfig

    folder = datasets.load("minilm")
    encoder = TextEncoder(BertConfig.from_pretrained(folder))
    weights = load_file(folder / "model.safetensors")
    own = encoder.bert.state_dict().keys()
    # Not by from_pretrained, which shows a bar and a report of the pooler's weights, that no mean needs.
    encoder.bert.load_state_dict({name: tensor for name, tensor in weights.items() if name in own})
    return encoder
