"""Structured pruning leaves smaller dense layers, of shapes that the weights do not decide."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.workloads.image_classification import SimpleCNN
from techniques.compression.channels import (
    prune_channels,
    prune_channels_magnitude,
    prune_channels_random,
    prune_channels_taylor,
)
from techniques.registry import CannotApply
from tests.support.untrained import Untrained


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.stem(images)
        found = found + self.inner(found)
        scores: torch.Tensor = self.head(found.mean(dim=(2, 3)))
        return scores


class FixedReshape(nn.Module):
    """Writes its size into its code, so that fewer channels do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8 * 16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.conv(images).view(images.shape[0], 8 * 16))
        return scores


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


def pruned(
    make: Callable[[], nn.Module], example: torch.Tensor, share: float = 0.5, seed: int = 0
) -> nn.Module:
    torch.manual_seed(seed)
    return prune_channels(make(), Untrained(example), share=share)


def test_half_the_channels_of_the_seed_cnn_are_a_quarter_of_its_work():
    model = pruned(lambda: SimpleCNN(28), torch.zeros(1, 3, 28, 28))
    shapes = [tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")]
    assert shapes == [(8, 3, 3, 3), (16, 8, 3, 3), (64, 16 * 7 * 7), (10, 64)]
    assert model(torch.zeros(2, 3, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("make", [Residual, depthwise])
def test_layers_that_hang_together_are_pruned_together(make):
    example = torch.randn(1, 3, 4, 4)
    model = pruned(make, example)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions[0].out_channels == convolutions[1].out_channels == 4
    assert model(example).shape == (1, 5)


@pytest.mark.parametrize("share", [0.3, 0.4, 0.5])
def test_an_encoders_heads_and_width_still_fit(share):
    def make() -> nn.Module:
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        return nn.Sequential(nn.Linear(8, 16), nn.TransformerEncoder(layer, 1), nn.Linear(16, 3))

    example = torch.randn(1, 6, 8)
    before = sum(parameter.numel() for parameter in make().parameters())
    model = pruned(make, example, share)
    assert model(example).shape == (1, 6, 3)
    width, heads = model[1].layers[0].self_attn.embed_dim, model[1].layers[0].self_attn.num_heads
    assert width == model[0].out_features and width % heads == 0
    assert sum(parameter.numel() for parameter in model.parameters()) < before


def test_shapes_do_not_depend_on_the_weights():
    models = [pruned(Residual, torch.randn(1, 3, 4, 4)) for _ in range(3)]
    assert len({tuple(tuple(p.shape) for p in model.parameters()) for model in models}) == 1


def test_the_channels_of_least_magnitude_go():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    small = [1, 2, 5]
    with torch.no_grad():
        model[0].weight[small] *= 0.01
        model[0].bias[small] *= 0.01
        model[2].weight[:, small] *= 0.01
    kept = model[0].weight.detach()[[0, 3, 4]].clone()
    prune_channels(model, Untrained(torch.zeros(1, 4)), share=0.5)
    assert torch.equal(model[0].weight, kept)


STEPS = (prune_channels, prune_channels_magnitude, prune_channels_taylor, prune_channels_random)


@pytest.mark.parametrize("make", [Residual, depthwise])
def test_models_of_one_share_have_one_structure_whatever_chose_the_channels(make):
    images = torch.randn(2, 3, 4, 4)
    models = [step(make(), Untrained(images[:1], [images]), share=0.5) for step in STEPS]
    assert len({tuple(tuple(p.shape) for p in model.parameters()) for model in models}) == 1
    assert all(parameter.grad is None for model in models for parameter in model.parameters())


def layers() -> nn.Sequential:
    """Give four channels: the first has large weights of its own, the second is read with large ones, and the
    loss depends on the others."""
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[9.0, 0.0], [0.1, 0.0], [0.5, 1.0], [0.5, 1.0]]))
        model[1].weight.copy_(torch.tensor([[0.1, 20.0, 1.0, 1.0]]))
    return model


def kept(step: Callable[..., nn.Module], share: float) -> list[int]:
    inputs = torch.tensor([[0.0, 1.0], [0.0, 3.0]])  # the first two channels are silent
    model = step(layers(), Untrained(inputs[:1], [inputs]), share=share)
    rows = layers()[0].weight.tolist()
    return [rows.index(row) for row in model[0].weight.tolist()]


def test_each_criterion_keeps_other_channels():
    assert kept(prune_channels, 0.5) == [0, 1]
    assert kept(prune_channels_magnitude, 0.75) == [0]
    assert set(kept(prune_channels_taylor, 0.75)) <= {2, 3}


def test_batches_whose_gradients_are_opposite_do_not_cancel():
    """The first channel moves each batch's loss by 4, up or down; the second both by a tenth."""

    class Opposite(Untrained):
        def losses(self, model: nn.Module) -> list[torch.Tensor]:
            return [4 * sign * model(batch).sum() for sign, batch in zip((1, -1), self.batches, strict=True)]

    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        model[1].weight.copy_(torch.tensor([[1.0, 1.0]]))
    batches = [torch.tensor([[1.0, 0.1]]), torch.tensor([[1.0, -0.1]])]
    prune_channels_taylor(model, Opposite(batches[0], batches), share=0.5)
    assert model[0].weight.tolist() == [[1.0, 0.0]]


def test_lots_are_drawn_by_the_seed_alone():
    def left(seed: int) -> list[int]:
        context = Untrained(torch.zeros(1, 2))
        context.seed = seed
        model = prune_channels_random(layers(), context, share=0.5)
        return [layers()[0].weight.tolist().index(row) for row in model[0].weight.tolist()]

    assert left(1) == left(1)
    assert len({tuple(left(seed)) for seed in range(8)}) > 1


def test_quality_is_noted_before_recovery():
    context = Untrained(torch.zeros(1, 3, 4, 4))
    prune_channels(Residual(), context, share=0.5)
    assert context.moments == ["pruned", "recovered"]


def test_a_model_that_cannot_be_taken_apart_is_told_apart_from_a_failure():
    with pytest.raises(CannotApply, match="prune-channels: "):
        pruned(FixedReshape, torch.zeros(1, 3, 4, 4))
    with pytest.raises(CannotApply, match="no channel to drop"):
        pruned(lambda: nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 4))
