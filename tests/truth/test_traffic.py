"""The least bytes of a call against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.instruments.traffic import call_bytes, decode_bytes, looked_up, step_bytes


@pytest.mark.parametrize(
    ("format_", "precision", "weight", "rest"),
    [
        (None, "fp32", 4, 4),
        (None, "bf16", 2, 2),
        ("int8-static", "fp32", 1, 4),
        ("int4-weight", "bf16", 0.5, 2),
        ("fp8", "fp32", 1, 4),
    ],
)
def test_a_call_moves_weights_inputs_and_outputs_once(format_, precision, weight, rest):
    model = nn.Linear(10, 20)
    inputs = torch.zeros(3, 10)
    moved = call_bytes(model, inputs, [model(inputs)], format_, precision)
    assert moved == weight * 200 + rest * (20 + 30 + 60)


def test_a_weight_that_two_layers_share_moves_once():
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    second.weight = first.weight
    inputs = torch.zeros(1, 8)
    assert call_bytes(nn.Sequential(first, second), inputs, [inputs], None, "fp32") == 4 * (64 + 8 + 8)


def test_a_step_reads_and_writes_weights_gradients_and_optimizer_state():
    model = nn.Linear(10, 20, bias=False)
    inputs = torch.zeros(3, 10)
    assert step_bytes(model, inputs, torch.optim.SGD(model.parameters(), lr=0.1)) == 4 * (2 * 2 * 200 + 30)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(inputs).sum().backward()
    optimizer.step()
    assert step_bytes(model, inputs, optimizer) == 4 * (2 * 3 * 200 + 30)


class Decoder(nn.Module):
    """A table, a layer and a head, which is the table again if tied."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(50, 8), nn.Embedding(16, 8)
        self.layer, self.head = nn.Linear(8, 8), nn.Linear(8, 50, bias=False)
        if tied:
            self.head.weight = self.table.weight


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("format_", "precision", "wide", "narrow"), [(None, "fp32", 4, 4), ("int8-weight", "bf16", 1, 2)]
)
def test_a_token_reads_every_weight_but_tables_that_are_only_looked_up(
    tied, format_, precision, wide, narrow
):
    read = wide * (8 * 8 + 50 * 8) + narrow * 8
    assert decode_bytes(Decoder(tied), format_, precision) == read


def test_a_table_that_is_the_head_as_well_is_multiplied_as_a_whole():
    tied, untied = Decoder(tied=True), Decoder(tied=False)
    assert [id(table) for table in looked_up(tied)] == [id(tied.places.weight)]
    assert len(looked_up(untied)) == 2


def test_the_head_of_gpt2_and_of_a_tied_llama_is_read():
    transformers = pytest.importorskip("transformers")
    gpt2 = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=100, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    )
    sizes = {"vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    for model, tables in (
        (gpt2, 32 * 16),
        (
            transformers.LlamaForCausalLM(
                transformers.LlamaConfig(**sizes, **heads, tie_word_embeddings=True)
            ),
            0,
        ),
        (transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads)), 100 * 16),
    ):
        weights = sum(weight.numel() for weight in model.parameters())
        assert decode_bytes(model, None, "bf16") == 2 * (weights - tables)
