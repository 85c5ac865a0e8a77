"""Shared weights: few values a layer, the nearest ones, trained as one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from techniques.compression.pruning import prune_magnitude
from techniques.compression.sharing import clusters, nearest, share_weights
from techniques.registry import TechniqueError
from tests.support.untrained import Untrained
from tests.techniques.test_pruning import Training


def test_clusters_are_the_means_of_what_is_nearest_to_them():
    weights = torch.tensor([-1.0, -1.2, 0.1, 0.0, 2.0, 2.2])
    values = clusters(weights, 3)
    assert values.tolist() == pytest.approx([-1.1, 0.05, 2.1])
    assert nearest(weights, values).tolist() == [0, 0, 1, 1, 2, 2]


def test_k_means_ends_where_no_weight_would_change_its_cluster():
    torch.manual_seed(0)
    weights = torch.randn(5000)
    values = clusters(weights, 16)
    numbers = nearest(weights, values)
    means = torch.stack([weights[numbers == number].mean() for number in range(len(values))])
    torch.testing.assert_close(values, means, rtol=1e-3, atol=1e-3)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_layer_has_as_many_values_as_bits_tell_apart_also_after_recovery(model, bits):
    before = model[0].weight.detach().clone()
    share_weights(model, Training(), bits=bits)
    assert len(model[0].weight.unique()) == 2**bits
    assert not torch.equal(model[0].weight, before)
    assert set(model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_a_weight_of_few_values_is_left_as_it_is():
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([1.0, -1.0, 2.0, 4.0]).repeat(4, 1))
    before = model.weight.detach().clone()
    share_weights(model, Untrained(torch.zeros(1, 4)), bits=3)
    assert torch.equal(model.weight, before)


def test_recovery_moves_all_weights_of_a_value_together(model):
    share_weights(model, Untrained(torch.zeros(1, 8)), bits=2)
    numbers = model[0].weight.detach().unique(return_inverse=True)[1]
    share_weights(model, Training(), bits=2)
    after = model[0].weight.detach()
    assert all(len(after[numbers == number].unique()) == 1 for number in range(4))


def test_pruned_weights_stay_pruned_as_one_value_more(model):
    prune_magnitude(model, Training(), sparsity=0.5)
    zeros = model[0].weight == 0
    share_weights(model, Training(), bits=2)
    assert torch.equal(model[0].weight == 0, zeros)
    assert len(model[0].weight.unique()) == 5


def test_a_model_without_layers_is_refused():
    with pytest.raises(TechniqueError, match="share-weights found no"):
        share_weights(nn.ReLU(), Untrained(torch.zeros(1, 2)), bits=4)
