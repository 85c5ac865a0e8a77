"""SmoothQuant moves outliers into the weights and changes nothing of what a model computes in floats."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.models.structures import Structure
from bench.workloads.vision_models import VisionTransformer
from techniques.compression import parse_recipe
from techniques.compression.sensitivity import changed, first_outputs, rounded_batch, rounded_weight
from techniques.compression.smoothing import norms_read_by_layers, smooth_quant, smoothing_scales
from techniques.registry import CannotApply, TechniqueError
from techniques.replacements import Scaled, build, describe
from tests.support.untrained import Untrained


class Block(nn.Module):
    """A feed-forward block with its norm before it, or after it and its residual."""

    def __init__(self, post: bool, width: int = 32) -> None:
        super().__init__()
        self.post, self.norm = post, nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        with torch.no_grad():
            self.norm.weight[3] = 60.0  # an outlier of the activations

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        normed = self.norm(states)
        residual = normed if self.post else states
        return residual + self.down(torch.relu(self.up(normed)))


def states(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 5, 32, generator=torch.Generator().manual_seed(seed))


def block(post: bool) -> Block:
    torch.manual_seed(0)
    return Block(post).eval()


def smoothed(model: nn.Module, batch: torch.Tensor, alpha: float = 0.5) -> nn.Module:
    return smooth_quant(model, Untrained(batch[:1], [batch]), alpha=alpha)


@pytest.mark.parametrize("post", [False, True])
def test_outputs_stay_and_int8_of_the_layer_is_nearer_to_them(post):
    model, batch = block(post), states()
    expected = first_outputs(model, [batch])

    def error() -> float:
        layer = model.up[1] if isinstance(model.up, Scaled) else model.up
        with changed([layer], lambda weight: rounded_weight(weight, 8), rounded_batch):
            return float((first_outputs(model, [batch]) - expected).norm())

    before = error()
    smoothed(model, batch)
    torch.testing.assert_close(first_outputs(model, [batch]), expected, rtol=1e-4, atol=1e-4)
    assert error() < 0.5 * before


def test_a_norm_takes_the_scale_where_the_layer_alone_reads_it_else_a_product_does():
    assert isinstance(smoothed(block(post=False), states()).up, nn.Linear)
    assert isinstance(smoothed(block(post=True), states()).up, Scaled)


def test_layers_that_read_a_norm_are_found_in_a_transformer():
    model = VisionTransformer(8, patch=4, layers=1, heads=1).eval()
    pairs = norms_read_by_layers(model, [torch.randn(2, 3, 8, 8)])
    assert [sorted(name.rpartition(".")[2] for name in pair.layers) for pair in pairs] == [
        ["key", "query", "value"],
        ["0"],
    ]
    assert all(pair.alone for pair in pairs)


def test_a_layer_that_is_called_twice_is_left_alone():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.layer = nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(self.norm(batch)))

    with pytest.raises(CannotApply, match="no linear layer of this model reads the outputs of a layer norm"):
        smoothed(Twice(), torch.randn(2, 8))


def test_scales_balance_activations_and_weights():
    scales = smoothing_scales(torch.tensor([100.0, 1.0]), [torch.tensor([[0.25, 4.0], [-1.0, 1.0]])], 0.5)
    torch.testing.assert_close(scales, torch.tensor([10.0, 0.5]))


def test_a_scaled_layer_is_built_again_from_its_description():
    layer = smoothed(block(post=True), states()).up
    again = build(describe(layer))
    again.load_state_dict(layer.state_dict())
    batch = states()
    assert torch.equal(again(batch), layer(batch))


def test_a_recipe_takes_it_before_a_format_and_not_after_shared_weights():
    assert parse_recipe("smooth-quant:0.7+int8-static").text == "smooth-quant:0.7+int8-static"
    with pytest.raises(TechniqueError, match="smooth-quant after share-weights would scale the weights"):
        parse_recipe("share-weights:4+smooth-quant+int8-static")


def test_an_encoder_s_artifact_describes_its_scaled_layers(tmp_path):
    pytest.importorskip("transformers")
    from bench.workloads.loading import find_workload

    name = "wordnet-supersense-transformer"
    torch.manual_seed(0)
    model = find_workload(name).model().eval()
    texts = torch.randint(1, 100, (4, 24))
    expected = first_outputs(model, [texts])
    smooth_quant(model, Untrained(texts[:1], [texts]), alpha=0.5)
    structure = Structure(name).edited(model)
    assert structure.replacements
    again = structure.build().eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(first_outputs(again, [texts]), expected, rtol=1e-3, atol=1e-4)
