"""Which layers a format leaves out: the most sensitive, as few as the bound needs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from techniques.compression.sensitivity import (
    changed,
    first_outputs,
    in_float8,
    most_sensitive,
    pruned_weight,
    relative_error,
    rounded_batch,
    rounded_weight,
)
from techniques.layers import covers, layers_of, modules_named
from techniques.registry import CannotApply


def fragile(width: int = 64) -> nn.Module:
    """Return four layers, of which the second has one weight a row that dwarfs the others."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(4))).eval()
    with torch.no_grad():
        for layer in model:
            layer.weight.copy_(torch.eye(width) + 0.1 * torch.randn(width, width))
        model[0].weight[0], model[0].bias[0] = 0.0, 0.0  # what the outliers multiply
        model[1].weight[:, 0] = 200.0
    return model


def batches() -> list[torch.Tensor]:
    return list(torch.randn(4, 16, 64, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_rounded_weight_has_so_many_values_a_row_and_its_largest_is_kept(bits):
    weight = torch.randn(8, 512, generator=torch.Generator().manual_seed(0))
    rounded = rounded_weight(weight, bits)
    assert all(len(row.unique()) <= 2**bits - 1 for row in rounded)
    torch.testing.assert_close(rounded.abs().amax(1), weight.abs().amax(1))
    step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    assert ((rounded - weight).abs() <= step / 2 + 1e-6).all()


def test_groups_have_scales_of_their_own():
    weight = torch.tensor([[1.0, 0.5] * 16 + [100.0, 50.0] * 16])
    torch.testing.assert_close(rounded_weight(weight, 4, 32), weight, rtol=0.15, atol=0)
    assert (rounded_weight(weight, 4)[0, :32] == 0).all()


def test_rounded_activations_keep_zero_and_the_ends_of_their_range():
    batch = torch.tensor([-1.0, 0.0, 0.3, 3.0])
    rounded = rounded_batch(batch)
    torch.testing.assert_close(rounded, batch, rtol=0, atol=4 / 255)
    assert torch.equal(rounded_batch(torch.tensor([1, 2])), torch.tensor([1, 2]))


def test_float8_has_three_bits_of_mantissa():
    numbers = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    large = numbers.abs() > 0.01
    assert ((in_float8(numbers) - numbers).abs()[large] / numbers.abs()[large]).max() <= 1 / 16 + 1e-6


@pytest.mark.parametrize("sparsity", [0, 0.5, 1])
def test_pruning_zeroes_the_smallest_share(sparsity):
    weight = torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    pruned = pruned_weight(weight, sparsity)
    assert int((pruned == 0).sum()) == 100 * sparsity
    assert torch.equal(pruned[pruned != 0], weight[pruned != 0])


def test_of_equal_weights_the_share_is_pruned_too():
    """A weight that was rounded before has few values: all of one must not go for a share of them."""
    pruned = pruned_weight(torch.tensor([[1.0, -1.0, 1.0, -1.0], [2.0, 1.0, 1.0, 1.0]]), 0.5)
    assert int((pruned == 0).sum()) == 4 and pruned[1, 0] == 2


def test_weights_and_inputs_are_changed_inside_only():
    layer = nn.Linear(4, 4)
    weight = layer.weight.detach().clone()
    batch = torch.randn(2, 4)
    with changed([layer], torch.zeros_like, torch.zeros_like):
        assert torch.equal(layer(batch), layer.bias.expand(2, 4))
    assert torch.equal(layer.weight, weight) and not layer._forward_pre_hooks


def test_the_layer_that_rounding_spoils_is_left_out_and_the_bound_then_holds():
    model, data = fragile(), batches()
    reference = first_outputs(model, data)
    assert most_sensitive(model, data, "int8-weight", 0.05) == ("1",)
    others = [layer for name, layer in layers_of(model).items() if name != "1"]
    with changed(others, lambda weight: rounded_weight(weight, 8)):
        assert relative_error(first_outputs(model, data), reference) <= 0.05


def test_nothing_is_left_out_where_the_bound_holds_and_kept_layers_are_not_named_again():
    assert most_sensitive(fragile(), batches(), "int8-weight", 1.0) == ()
    assert most_sensitive(fragile(), batches(), "int8-weight", 0.05, kept=["1"]) == ()


def test_a_bound_that_no_layer_allows_is_refused():
    with pytest.raises(CannotApply, match=r"mixed: with any layer in int4-weight .* above 1e-09; raise"):
        most_sensitive(fragile(), batches(), "int4-weight", 1e-9)


def test_numbers_that_are_not_finite_do_not_count():
    reference = torch.tensor([3.0, float("-inf"), 4.0])
    assert relative_error(torch.tensor([3.0, 0.0, 4.5]), reference) == pytest.approx(0.1)


def test_modules_are_named_by_patterns_and_a_module_stands_for_what_is_in_it():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 2))
    assert modules_named(model, "0 1") == ("0", "1")
    assert modules_named(model, "0.*") == ("0.0", "0.1")
    with pytest.raises(CannotApply, match=r"keep: the model has no module 'fc'; known: 0\.0, 0\.1, 1"):
        modules_named(model, "fc")
    assert covers(["0"], "0.1") and covers(["0"], "model.0.1")
    assert not covers(["0"], "01") and not covers([], "0")
