"""Unstructured pruning drops the right weights and keeps them dropped."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import pytest
import torch

from techniques.compression.pruning import prune_magnitude, prune_magnitude_as_mean, prune_mean
from techniques.registry import TechniqueError


class Training:
    """A context whose recovery takes real optimizer steps on random data."""

    example = torch.zeros(1, 8)

    def __init__(self) -> None:
        self.moments: list[str] = []

    def calibration(self) -> Iterable[torch.Tensor]:
        return []

    def note_quality(self, moment: str, model: torch.nn.Module) -> None:
        self.moments.append(moment)

    def recover(self, model: torch.nn.Module) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(16, 8)).square().mean().backward()
            optimizer.step()


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))


def sparsity(layer: torch.nn.Module) -> float:
    return (layer.weight == 0).double().mean().item()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_magnitude_pruning_reaches_its_sparsity_in_every_layer(model, share):
    prune_magnitude(model, Training(), sparsity=share)
    assert sparsity(model[0]) == pytest.approx(share, abs=0.5 / 256)
    assert sparsity(model[2]) == pytest.approx(share, abs=0.5 / 128)


def test_mean_pruning_drops_what_is_under_the_layers_mean_times_ratio(model):
    weight = model[0].weight.detach().clone()
    under = weight.abs() < weight.abs().mean() * 1.5
    prune_mean(model, Training(), ratio=1.5)
    assert torch.equal(model[0].weight == 0, under)


def test_the_two_rules_can_be_compared_at_one_sparsity(model):
    other = deepcopy(model)
    with torch.no_grad():
        other[0].weight *= torch.rand_like(other[0].weight)  # another spread of magnitudes, layer by layer
    model = deepcopy(other)
    prune_mean(model, Training(), ratio=1.0)
    prune_magnitude_as_mean(other, Training(), ratio=1.0)
    zeros = [sum(int((layer.weight == 0).sum()) for layer in (net[0], net[2])) for net in (model, other)]
    assert zeros[0] == pytest.approx(zeros[1], abs=1)
    assert sparsity(other[0]) == pytest.approx(sparsity(other[2]), abs=0.01)


def test_recovery_trains_the_rest_and_leaves_a_plain_model(model):
    before = model[0].weight.detach().clone()
    context = Training()
    prune_mean(model, context, ratio=1.0)
    kept = model[0].weight != 0
    assert not torch.equal(model[0].weight[kept], before[kept])
    assert context.moments == ["pruned"]
    assert set(model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.parametrize(("second", "left"), [(0.6, 0.6), (0.25, 0.5), (0.0, 0.5)])
def test_a_second_pruning_keeps_what_the_first_dropped_even_where_it_would_drop_less(model, second, left):
    prune_magnitude(model, Training(), sparsity=0.5)
    dropped = model[0].weight == 0
    prune_magnitude(model, Training(), sparsity=second)
    assert (model[0].weight[dropped] == 0).all()
    assert sparsity(model[0]) == pytest.approx(left, abs=0.01)


def test_a_model_without_layers_is_refused():
    with pytest.raises(TechniqueError, match="no linear or convolution layer"):
        prune_mean(torch.nn.ReLU(), Training(), ratio=1.0)
