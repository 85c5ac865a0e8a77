"""Known answers of attention and recurrence: formulas written by hand from the layers' definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.support.flop_counts import backward, both_modes, forward


def test_fused_attention_counts_two_products_forward_and_five_backward() -> None:
    query, key, value = (torch.randn(2, 4, 10 + 3 * i // 2, 8, requires_grad=True) for i in (0, 2, 2))
    product = 2 * 2 * 4 * 10 * 13 * 8
    assert both_modes(lambda: functional.scaled_dot_product_attention(query, key, value)) == 2 * product
    assert backward(lambda: functional.scaled_dot_product_attention(query, key, value)) == 5 * product


def test_attention_whose_queries_share_keys_counts_each_query_head() -> None:
    query, shared = torch.randn(2, 4, 10, 8), torch.randn(2, 2, 10, 8)

    def call() -> torch.Tensor:
        return functional.scaled_dot_product_attention(query, shared, shared, enable_gqa=True)

    assert both_modes(call) == 2 * (2 * 2 * 4 * 10 * 10 * 8)


@pytest.mark.parametrize("weights_wanted", [False, True])
def test_multi_head_attention_counts_the_same_on_its_fused_path(weights_wanted: bool) -> None:
    width, tokens, batch = 16, 10, 3
    layer = nn.MultiheadAttention(width, 4, batch_first=True).eval()
    source = torch.randn(batch, tokens, width)
    expected = 2 * batch * (4 * tokens * width * width + 2 * tokens * tokens * width)
    assert both_modes(lambda: layer(source, source, source, need_weights=weights_wanted)[0]) == expected


def test_the_fused_encoder_layer_counts_as_the_plain_one() -> None:
    width, hidden, tokens, batch = 16, 40, 10, 3
    layer = nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    source = torch.randn(batch, tokens, width)
    attention = 4 * tokens * width * width + 2 * tokens * tokens * width
    expected = 2 * 2 * batch * (attention + 2 * tokens * width * hidden)
    assert both_modes(lambda: encoder(source)) == expected


def test_an_encoder_that_skips_padding_counts_only_the_tokens_it_works_on() -> None:
    width, hidden = 16, 40
    layer = nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1).eval()
    lengths = (10, 6)
    padding = torch.arange(10)[None] >= torch.tensor(lengths)[:, None]
    source = torch.randn(2, 10, width)
    expected = sum(2 * (4 * n * width**2 + 2 * n * n * width + 2 * n * width * hidden) for n in lengths)
    with torch.no_grad():
        assert forward(lambda: encoder(source, src_key_padding_mask=padding)) == expected


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_layers_take_every_weight_once_a_token(
    kind: type[nn.Module], gates: int, layers: int
) -> None:
    layer = kind(12, 20, num_layers=layers, batch_first=True)
    source = torch.randn(3, 5, 12)
    expected = 2 * 3 * 5 * gates * (20 * (12 + 20) + (layers - 1) * 20 * (20 + 20))
    assert both_modes(lambda: layer(source)[0]) == expected


def test_backward_of_an_lstm_computes_two_gradients_a_product() -> None:
    layer, source = nn.LSTM(12, 20), torch.randn(5, 3, 12, requires_grad=True)
    assert backward(lambda: layer(source)[0]) == 2 * (2 * 3 * 5 * 4 * 20 * (12 + 20))


def test_a_packed_sequence_counts_its_tokens_without_padding() -> None:
    layer = nn.LSTM(12, 20)
    packed = nn.utils.rnn.pack_sequence([torch.randn(length, 12) for length in (5, 3, 1)])
    assert forward(lambda: layer(packed)) == 2 * 9 * 4 * 20 * (12 + 20)


def test_causal_and_hand_written_attention_count_their_products() -> None:
    query = torch.randn(2, 4, 10, 8, requires_grad=True)
    product = 2 * 2 * 4 * 10 * 10 * 8

    def causal() -> torch.Tensor:
        return functional.scaled_dot_product_attention(query, query, query, is_causal=True)

    def by_hand() -> torch.Tensor:
        return (query @ query.mT / 8**0.5).softmax(-1) @ query

    def by_einsum() -> torch.Tensor:
        scores = torch.einsum("bhqe,bhke->bhqk", query, query).softmax(-1)
        return torch.einsum("bhqk,bhke->bhqe", scores, query)

    assert both_modes(causal) == 2 * product  # masked scores count: the dense products are the convention
    assert backward(causal) == 5 * product
    for call in (by_hand, by_einsum):
        assert both_modes(call) == 2 * product
        assert backward(call) == 4 * product


def test_training_multi_head_attention_and_an_encoder_count_forward_and_backward() -> None:
    width, hidden, tokens, batch = 16, 40, 10, 3
    source = torch.randn(batch, tokens, width, requires_grad=True)
    attention = nn.MultiheadAttention(width, 4, batch_first=True)
    projections, scores = 4 * tokens * width * width, 2 * tokens * tokens * width

    def attend() -> torch.Tensor:
        found: torch.Tensor = attention(source, source, source, need_weights=False)[0]
        return found

    assert forward(attend) == 2 * batch * (projections + scores)
    # Two gradients a projection, and five products to the scores' two: one of them computed again.
    assert backward(attend) == 2 * batch * (2 * projections + 5 * scores // 2)
    layer = nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    feed_forward = 2 * tokens * width * hidden
    assert forward(lambda: encoder(source)) == 2 * 2 * batch * (projections + scores + feed_forward)
    # Its dropout has no fused kernel on the CPU: plain products, nothing computed again.
    expected = 2 * 2 * batch * (2 * projections + 2 * scores + 2 * feed_forward)
    assert backward(lambda: encoder(source)) == expected


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
def test_recurrence_in_both_directions_counts_each(kind: type[nn.Module], gates: int) -> None:
    layer = kind(12, 20, bidirectional=True)
    source = torch.randn(5, 3, 12, requires_grad=True)
    assert both_modes(lambda: layer(source)[0]) == 2 * 5 * 3 * 2 * gates * 20 * (12 + 20)


def test_backward_of_a_gru_computes_no_gradient_of_the_state_that_it_began_from() -> None:
    layer, source = nn.GRU(12, 20), torch.randn(5, 3, 12, requires_grad=True)
    first_state = 2 * 3 * 3 * 20 * 20
    assert backward(lambda: layer(source)[0]) == 2 * (2 * 5 * 3 * 3 * 20 * (12 + 20)) - first_state
