"""Unstructured pruning drops the right weights and keeps them dropped."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import pytest
import torch

from techniques.compression.channels import prune_channels
from techniques.compression.identity import finetune
from techniques.compression.pruning import (
    cubic,
    prune_global,
    prune_gradual,
    prune_magnitude,
    prune_magnitude_as_mean,
    prune_mean,
    prune_random,
    prune_snip,
    prune_taylor,
    prune_two_of_four,
    prune_wanda,
)
from techniques.registry import TechniqueError
from tests.support.untrained import Untrained


class Training:
    """A context whose recovery takes real optimizer steps on random data."""

    example = torch.zeros(1, 8)
    seed = 0

    def __init__(self) -> None:
        self.moments: list[str] = []
        self.zeros: list[float] = []

    def calibration(self) -> Iterable[torch.Tensor]:
        generator = torch.Generator().manual_seed(5)
        return [torch.randn(16, 8, generator=generator) for _ in range(3)]

    def losses(self, model: torch.nn.Module) -> Iterable[torch.Tensor]:
        return (model.eval()(batch).square().mean() for batch in self.calibration())

    def note_quality(self, moment: str, model: torch.nn.Module) -> None:
        self.moments.append(moment)

    def recover(self, model: torch.nn.Module, part: int = 0, parts: int = 1) -> None:
        self.moments.append(f"recovered {part + 1} of {parts}")
        self.zeros.append(sparsity(model[0]))
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
    assert context.moments == ["pruned", "recovered 1 of 1"]
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


OF_ALL = (prune_global, prune_taylor, prune_snip)


def gradually(model: torch.nn.Module, context: Training, *, sparsity: float) -> torch.nn.Module:
    return prune_gradual(model, context, sparsity=sparsity, rounds=3)


EACH_LAYER = (prune_magnitude, prune_random, prune_wanda, gradually)


@pytest.mark.parametrize("step", OF_ALL)
@pytest.mark.parametrize("share", [0.25, 0.9])
def test_a_criterion_over_all_layers_reaches_its_sparsity_exactly_and_holds_it(model, step, share):
    step(model, Training(), sparsity=share)
    zeros = sum(int((layer.weight == 0).sum()) for layer in (model[0], model[2]))
    assert zeros == round(share * (256 + 128))
    assert set(model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.parametrize("step", EACH_LAYER)
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_criterion_of_each_layer_reaches_its_sparsity_exactly_and_holds_it(model, step, share):
    step(model, Training(), sparsity=share)
    assert [int((layer.weight == 0).sum()) for layer in (model[0], model[2])] == [share * 256, share * 128]


def test_over_all_layers_the_smallest_go_wherever_they_are():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        model[1].weight.copy_(torch.tensor([[0.1, 0.2], [0.3, 5.0]]))
    prune_global(model, Untrained(torch.zeros(1, 2)), sparsity=0.5)
    assert model[0].weight.tolist() == [[0, 2], [3, 4]]
    assert model[1].weight.flatten().tolist() == [0, 0, 0, 5]


def test_wanda_drops_small_inputs_of_each_output_where_magnitude_would_drop_small_weights():
    def of(step) -> torch.Tensor:
        model = torch.nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [40.0, 30.0, 20.0, 10.0]]))
        inputs = torch.tensor([[10.0, 1.0, 1.0, 0.1], [10.0, 1.0, 1.0, 0.1]])
        step(model, Untrained(inputs[:1], [inputs, inputs]), sparsity=0.5)
        return model.weight != 0

    # |w| × norm: 10, 2, 3, 0.4 of the first row and 400, 30, 20, 1 of the second.
    assert of(prune_wanda).tolist() == [[True, False, True, False], [True, True, False, False]]
    assert of(prune_magnitude).tolist() == [[False] * 4, [True] * 4]


def test_wanda_takes_a_convolutions_input_channels_also_of_groups():
    model = torch.nn.Conv2d(4, 2, 1, groups=2, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    images = torch.ones(3, 4, 5, 5) * torch.tensor([1.0, 2.0, 4.0, 3.0]).view(1, 4, 1, 1)
    prune_wanda(model, Untrained(images[:1], [images]), sparsity=0.5)
    assert model.weight.flatten().tolist() == [0, 1, 1, 0]


def test_taylor_and_snip_drop_what_the_loss_does_not_depend_on():
    for step in (prune_taylor, prune_snip):
        model = torch.nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[5.0, 1.0, 2.0]]))
        inputs = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]])  # the largest weight is never used
        step(model, Untrained(inputs[:1], [inputs]), sparsity=1 / 3)
        assert model.weight.tolist() == [[0, 1, 2]]


def test_taylor_counts_a_gradient_that_cancels_over_batches_and_snip_does_not():
    def of(step) -> list[float]:
        model = torch.nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.0, 1.0]]))

        class Cancelling(Untrained):
            def losses(self, model):
                yield model(torch.tensor([[10.0, 1.0]])).sum()
                yield model(torch.tensor([[-10.0, 1.0]])).sum()

        step(model, Cancelling(torch.zeros(1, 2)), sparsity=0.5)
        return model.weight[0].tolist()

    assert of(prune_taylor) == [1, 0]
    assert of(prune_snip) == [0, 1]


def test_two_of_each_four_inputs_stay_the_largest():
    model = torch.nn.Linear(8, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -4.0, 2.0, 3.0, 8.0, 7.0, 6.0, -5.0]]))
    prune_two_of_four(model, Untrained(torch.zeros(1, 8)))
    assert model.weight[0].tolist() == [0, -4, 0, 3, 8, 7, 0, 0]


def test_two_of_four_goes_over_the_input_channels_of_a_convolution_and_leaves_others_dense():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 3))
    prune_two_of_four(model, Untrained(torch.zeros(1, 3, 8, 8)))
    assert (model[0].weight != 0).all()
    fours = (model[1].weight != 0).unflatten(1, (2, 4)).sum(2)
    assert (fours == 2).all()
    with pytest.raises(TechniqueError, match="multiple of four inputs"):
        prune_two_of_four(torch.nn.Linear(3, 8), Untrained(torch.zeros(1, 3)))


def test_frozen_weights_are_scored_and_stay_frozen(model):
    model[0].weight.requires_grad_(False)
    prune_taylor(model, Untrained(torch.zeros(1, 8), [torch.randn(4, 8)]), sparsity=0.5)
    assert not model[0].weight.requires_grad and model[2].weight.requires_grad


def test_lots_are_drawn_by_the_seed_alone(model):
    def dropped(seed: int) -> torch.Tensor:
        found, context = deepcopy(model), Untrained(torch.zeros(1, 8))
        context.seed = seed
        torch.manual_seed(torch.seed())
        return prune_random(found, context, sparsity=0.5)[0].weight == 0

    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2))


def test_the_cubic_schedule_starts_fast_and_ends_at_the_sparsity():
    assert [cubic(0.8, t) for t in (0.0, 0.5, 1.0)] == pytest.approx([0, 0.7, 0.8])


def test_gradual_pruning_recovers_a_part_of_the_budget_after_each_round(model):
    context = Training()
    prune_gradual(model, context, sparsity=0.8, rounds=4)
    recoveries = [f"recovered {part} of 4" for part in (1, 2, 3, 4)]
    assert context.moments == [*recoveries[:3], "pruned", recoveries[3]]
    assert context.zeros == pytest.approx([cubic(0.8, t) for t in (0.25, 0.5, 0.75, 1.0)], abs=1 / 256)


@pytest.mark.parametrize(
    "later", [finetune, lambda model, context: prune_channels(model, context, share=0.5)]
)
def test_what_trains_after_a_pruning_leaves_the_zeros_alone(model, later):
    prune_magnitude(model, Training(), sparsity=0.75)
    later(model, Training())
    assert sparsity(model[2]) > 0.5
    assert set(model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
