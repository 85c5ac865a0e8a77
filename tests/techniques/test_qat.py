"""Quantization-aware training leaves rounded weights, and loses less by that than rounding afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench import datasets
from techniques.compression.grids import Grid
from techniques.compression.pruning import prune_magnitude
from techniques.compression.qat import OnGrid, qat
from techniques.compression.rounding import round_to_nearest
from techniques.registry import CannotApply
from tests.support.untrained import Untrained
from tests.techniques.test_pruning import Training

SETTINGS = {"bits": 4, "group": 8, "grid": "affine", "activations": "float"}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))


def test_weights_are_trained_and_end_on_the_grid(model):
    context = Training()
    start = Grid(4, 8).nearest(model[0].weight.detach())
    qat(model, context, **SETTINGS)
    assert context.moments == ["rounded", "recovered 1 of 1"]
    for layer in (model[0], model[2]):
        weight = layer.weight.detach()
        torch.testing.assert_close(Grid(4, 8).nearest(weight), weight, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model[0].weight, start)
    assert [type(module) for module in model] == [nn.Linear, nn.ReLU, nn.Linear]
    assert set(model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_recovery_sees_rounded_weights_and_rounded_activations(model):
    seen: list[torch.Tensor] = []

    class Looking(Untrained):
        def recover(self, model: nn.Module, part: int = 0, parts: int = 1) -> None:
            batch = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
            seen.extend((model(batch), batch))

    before = [layer.weight.detach().clone() for layer in (model[0], model[2])]
    first, second = (Grid(4, 8).nearest(weight) for weight in before)
    for activations in ("float", "int8"):
        qat(model, Looking(torch.zeros(1, 8)), **SETTINGS | {"activations": activations})
    hidden = torch.relu(nn.functional.linear(seen[1], first, model[0].bias))
    expected = nn.functional.linear(hidden, second, model[2].bias)
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-5)
    assert 0 < (seen[2] - expected).abs().max() < 0.05 * expected.abs().max()


def test_gradients_pass_through_the_rounding():
    weight = torch.randn(4, 8, requires_grad=True)
    (OnGrid(Grid(2, 8))(weight) * torch.arange(8.0)).sum().backward()
    assert torch.equal(weight.grad, torch.arange(8.0).expand(4, 8))


def test_pruned_weights_stay_pruned(model):
    prune_magnitude(model, Training(), sparsity=0.5)
    zeros = model[0].weight == 0
    qat(model, Training(), **SETTINGS)
    assert (model[0].weight[zeros] == 0).all()


def test_a_model_without_layers_of_its_group_is_refused():
    with pytest.raises(CannotApply, match="qat: the model has no linear layer whose inputs 32 divides"):
        qat(nn.Sequential(nn.Linear(8, 4)), Untrained(torch.zeros(1, 8)), **SETTINGS | {"group": 32})


class Digits:
    """A context that trains on the digits that come with scikit-learn, and keeps the losses on others."""

    seed = 0

    def __init__(self, steps: int) -> None:
        images = datasets.load("digits")
        self.steps = steps
        self.inputs = torch.as_tensor(images.train_images).flatten(1).float() / 16
        self.labels = torch.as_tensor(images.train_labels)
        self.others = torch.as_tensor(images.test_images).flatten(1).float() / 16
        self.other_labels = torch.as_tensor(images.test_labels)
        self.example = self.inputs[:1]
        self.noted: list[float] = []

    def recover(self, model: nn.Module, part: int = 0, parts: int = 1) -> None:
        generator = torch.Generator().manual_seed(part)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(self.steps):
            chosen = torch.randint(len(self.inputs), (64,), generator=generator)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(self.inputs[chosen]), self.labels[chosen]).backward()
            optimizer.step()

    def note_quality(self, moment: str, model: nn.Module) -> None:
        self.noted.append(self.loss(model))

    @torch.no_grad()
    def loss(self, model: nn.Module) -> float:
        """Return the mean cross-entropy on digits that it does not train on."""
        return float(nn.functional.cross_entropy(model.eval()(self.others), self.other_labels))


def losses(seed: int) -> tuple[float, float, float]:
    """Return the losses of a small net that was trained on: as it is, rounded afterwards, and by `qat`.

    A quarter of its inner activations are 8 times as large as the others, as the outliers of larger models
    are: one scale for all inputs of an output does not suit both.
    """
    context = Digits(steps=300)

    def net() -> nn.Module:
        torch.manual_seed(seed)
        first, second, last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
        context.recover(model, part=100)
        with torch.no_grad():
            for layer, following in ((first, second), (second, last)):
                scale = torch.ones(32)
                scale[::4] = 8
                layer.weight /= scale[:, None]
                layer.bias /= scale
                following.weight *= scale
        return model

    plain, aware = net(), net()
    context.recover(plain)
    whole = context.loss(plain)
    round_to_nearest(plain, context, bits=4, group=0, grid="affine")
    qat(aware, context, bits=4, group=0, grid="affine", activations="float")
    return whole, context.loss(plain), context.loss(aware)


def test_it_recovers_what_rounding_at_4_bits_loses():
    found = torch.tensor([losses(seed) for seed in (0, 1)]).sum(0)
    whole, afterwards, aware = found.tolist()
    assert afterwards - whole > 0.05
    assert aware - whole < 0.5 * (afterwards - whole)
