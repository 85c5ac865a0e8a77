"""LoRA trains a few weights, merges them, and leaves zeros at zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from techniques.compression.low_rank import low_rank
from techniques.compression.pruning import prune_magnitude
from techniques.registry import CannotApply
from techniques.replacements import Factors
from tests.support.untrained import Untrained
from tests.techniques.test_pruning import Training

pytest.importorskip("peft")

from techniques.compression.lora import lora

SETTINGS = {"rank": 2, "alpha": 4.0}


class Kept(Untrained):
    """A context whose recovery does what it is given, and keeps what the model then gives for a batch."""

    def __init__(self, batch: torch.Tensor, change: Callable[[nn.Module], None]) -> None:
        super().__init__(batch[:1], [batch])
        self.change = change
        self.outputs = torch.empty(0)

    def recover(self, model: nn.Module, part: int = 0, parts: int = 1) -> None:
        self.change(model)
        with torch.no_grad():
            self.outputs = model(self.batches[0])


def noise(model: nn.Module) -> None:
    """Give all weights that train other values."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def dense() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))


def convolutions() -> nn.Module:
    torch.manual_seed(0)
    features = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(64, 4))


MODELS = pytest.mark.parametrize(("make", "shape"), [(dense, (5, 8)), (convolutions, (5, 3, 4, 4))])


@MODELS
@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_the_merged_model_is_the_one_that_was_trained(make, shape, sparsity):
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    model = prune_magnitude(make(), Untrained(batch[:1]), sparsity=sparsity)
    context = Kept(batch, noise)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lora(model, context, **SETTINGS)
    after = model.state_dict()
    assert after.keys() == before.keys()
    with torch.no_grad():
        torch.testing.assert_close(model(batch), context.outputs, rtol=1e-4, atol=1e-5)
    for name, tensor in after.items():
        if name.endswith("bias"):
            assert torch.equal(tensor, before[name])
        else:
            assert not torch.equal(tensor, before[name])
            assert (tensor[before[name] == 0] == 0).all()


def test_what_is_added_has_the_rank_asked_for():
    model = dense()
    before = model[0].weight.detach().clone()
    lora(model, Kept(torch.randn(4, 8), noise), **SETTINGS)
    added = torch.linalg.svdvals(model[0].weight.detach() - before)
    assert (added[:2] > 1e-3).all() and (added[2:] < 1e-5).all()


def test_adapters_alone_are_trained_and_all_weights_can_be_again_afterwards():
    trained: list[int] = []

    def count(model: nn.Module) -> None:
        trained.extend(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)

    model = dense()
    lora(model, Kept(torch.randn(4, 8), count), **SETTINGS)
    assert sum(trained) == 2 * (8 + 32) + 2 * (32 + 4)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_it_recovers_by_training():
    model = dense()
    before = model[0].weight.detach().clone()
    context = Training()
    lora(model, context, **SETTINGS)
    assert context.moments == ["recovered 1 of 1"] and not torch.equal(model[0].weight, before)


def test_the_layers_of_a_low_rank_are_adapted_and_stay_what_they_are():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    batch = torch.randn(4, 32)
    low_rank(model, Untrained(batch[:1]), share=0.25, convolutions="channel")
    before = model[0][0].weight.detach().clone()
    lora(model, Kept(batch, noise), **SETTINGS)
    assert isinstance(model[0], Factors) and type(model[0][0]) is nn.Linear
    assert not torch.equal(model[0][0].weight, before)


def test_layers_of_names_that_end_alike_are_told_apart():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)
            self.inner = nn.ModuleDict({"layer": nn.Linear(8, 8)})
            self.inner["layer"].weight = nn.Parameter(torch.randn(8, 8))
            self.again = nn.Linear(8, 8, bias=False)
            self.again.weight = self.inner["layer"].weight

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.again(self.inner["layer"](self.layer(batch)))

    torch.manual_seed(0)
    model = Tied()
    shared = model.again.weight.detach().clone()
    lora(model, Kept(torch.randn(4, 8), noise), **SETTINGS)
    assert torch.equal(model.again.weight, shared)  # two layers read it


def test_a_model_without_layers_is_refused():
    with pytest.raises(CannotApply, match="lora: the model has no linear or convolution layer"):
        lora(nn.Sequential(nn.ReLU()), Untrained(torch.zeros(1, 2)), **SETTINGS)
