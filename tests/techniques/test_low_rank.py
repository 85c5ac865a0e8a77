"""Two smaller layers stand for one of low rank, exactly where it has that rank."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.workloads.encoder_decoder import EncoderDecoder
from techniques.compression.low_rank import factors, low_rank, low_rank_energy, rank_of_energy
from techniques.registry import CannotApply
from techniques.replacements import Factors
from tests.support.untrained import Untrained


def of_rank(layer: nn.Module, rank: int, spatial: bool = False) -> nn.Module:
    """Give a layer a weight that is a product of this rank, its factors as wide as the weight's matrix."""
    generator = torch.Generator().manual_seed(rank)
    shape = layer.weight.shape
    with torch.no_grad():
        if spatial:
            out, inputs, rows, columns = shape
            left = torch.randn(out * columns, rank, generator=generator)
            right = torch.randn(rank, inputs * rows, generator=generator)
            matrix = (left @ right).view(out, columns, inputs, rows)
            layer.weight.copy_(matrix.permute(0, 2, 3, 1))
        else:
            left = torch.randn(shape[0], rank, generator=generator)
            layer.weight.copy_((left @ torch.randn(rank, shape[1:].numel(), generator=generator)).view(shape))
    return layer


@pytest.mark.parametrize(
    ("layer", "inputs", "convolutions"),
    [
        (nn.Linear(16, 12), (5, 16), "channel"),
        (nn.Conv1d(8, 12, 3, stride=2, padding=1), (2, 8, 9), "channel"),
        (nn.Conv2d(8, 12, 3, stride=2, padding=1), (2, 8, 9, 7), "channel"),
        (nn.Conv2d(8, 12, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), (2, 8, 9, 12), "spatial"),
        (nn.Conv2d(8, 12, 3, bias=False), (2, 8, 9, 9), "spatial"),
    ],
)
@torch.no_grad()
def test_two_layers_of_the_weights_own_rank_compute_the_same(layer, inputs, convolutions):
    of_rank(layer, 2, convolutions == "spatial")
    pair = factors(layer, lambda values: 2, convolutions)
    batch = torch.randn(inputs)
    torch.testing.assert_close(pair(batch), layer(batch), rtol=1e-4, atol=1e-4)
    count = lambda module: sum(parameter.numel() for parameter in module.parameters())  # noqa: E731
    assert count(pair) < count(layer)


def test_a_layer_stays_where_two_would_have_no_fewer_weights():
    assert factors(nn.Linear(8, 8), lambda values: 4, "channel") is None
    assert factors(nn.Linear(8, 8), lambda values: 3, "channel") is not None


def test_energy_is_the_sum_of_squared_singular_values():
    values = torch.tensor([3.0, 2.0, 1.0])  # squares 9, 4, 1 of 14
    assert [rank_of_energy(values, share) for share in (0.5, 9 / 14, 0.65, 0.95, 1.0)] == [1, 1, 2, 3, 3]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 32), nn.Linear(32, 10))


def test_each_layer_keeps_its_share_of_the_full_rank():
    model = low_rank(net(), Untrained(torch.zeros(1, 3, 4, 4)), share=0.25, convolutions="channel")
    replaced = {
        name: module[0].weight.shape[0]
        for name, module in model.named_modules()
        if isinstance(module, Factors)
    }
    assert replaced == {"0": 4, "3": 8, "4": 2}


def test_energy_keeps_more_of_a_layer_that_has_more():
    model = net()
    of_rank(model[3], 3)
    low_rank_energy(model, Untrained(torch.zeros(1, 3, 4, 4)), energy=0.9999, convolutions="channel")
    assert isinstance(model[3], Factors) and model[3][0].out_features == 3
    assert isinstance(model[4], nn.Linear)  # of full rank, which two layers would not shorten


def test_weights_that_others_read_stay():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(40, 16)
            self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.head = nn.Linear(16, 40, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, tokens):
            return self.head(self.encoder(self.embedding(tokens)))

    tokens = torch.arange(6).view(1, 6)
    with pytest.raises(CannotApply, match="no layer would have fewer weights"):
        low_rank(Tied().eval(), Untrained(tokens), share=0.25, convolutions="channel")
    model = EncoderDecoder(32, 3, 3, width=16, layers=1, heads=2)
    low_rank(model, Untrained(tokens), share=0.25, convolutions="channel")
    assert isinstance(model.encoder[0].self_attention.query, Factors)


def test_a_rank_that_saves_nothing_is_refused():
    with pytest.raises(CannotApply, match="low-rank: no layer would have fewer weights"):
        low_rank(net(), Untrained(torch.zeros(1, 3, 4, 4)), share=1.0, convolutions="spatial")
