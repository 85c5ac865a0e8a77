"""Levels that weights are rounded to: few, evenly spaced, with 0, and found again from rounded weights."""

from __future__ import annotations

import pytest
import torch

from techniques.compression.grids import Grid, ends

EACH = pytest.mark.parametrize("kind", ["affine", "symmetric", "narrow"])


def drawn(outputs: int = 6, inputs: int = 64) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(2))


@EACH
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_group_has_at_most_as_many_levels_as_bits_tell_apart(kind, bits):
    rounded = Grid(bits, 32, kind).nearest(drawn())
    assert all(len(group.unique()) <= 2**bits for group in rounded.unflatten(1, (-1, 32)).flatten(0, 1))
    assert not torch.equal(rounded, drawn())


@EACH
def test_no_weight_of_the_larger_sign_moves_by_more_than_half_a_level(kind):
    weight = drawn()
    grid = Grid(4, 32, kind)
    groups = weight.unflatten(1, (-1, 32))
    levels = grid.levels(groups)
    moved = (grid.nearest(weight) - weight).unflatten(1, (-1, 32)).abs()
    # The symmetric grid has one level fewer on the other side, which clips by half a level more.
    most = 1.0 if kind == "symmetric" else 0.5
    assert (moved <= (most + 1e-4) * levels.scale.abs()).all()


@EACH
def test_rounded_weights_are_rounded_to_themselves(kind):
    grid = Grid(4, 32, kind)
    once = grid.nearest(drawn())
    torch.testing.assert_close(grid.nearest(once), once, rtol=1e-5, atol=1e-6)


@EACH
def test_zero_is_a_level(kind):
    weight = drawn()
    weight[:, ::3] = 0
    assert (Grid(4, 32, kind).nearest(weight)[:, ::3] == 0).all()


@EACH
def test_a_group_of_zeros_alone_and_one_of_a_single_sign_are_rounded(kind):
    weight = torch.cat([torch.zeros(1, 32), drawn(1, 32).abs(), -drawn(1, 32).abs()])
    rounded = Grid(4, 32, kind).nearest(weight)
    assert torch.isfinite(rounded).all() and (rounded[0] == 0).all()
    assert (rounded[1] >= 0).all() and (rounded[2] <= 0).all()


def test_narrow_levels_are_alike_on_both_sides_of_zero():
    weight = drawn()
    rounded = Grid(4, 32, "narrow").nearest(weight)
    assert torch.equal(Grid(4, 32, "narrow").nearest(-weight), -rounded)
    torch.testing.assert_close(
        rounded.unflatten(1, (-1, 32)).abs().amax(-1), weight.unflatten(1, (-1, 32)).abs().amax(-1)
    )


def test_a_group_of_0_is_all_inputs_of_an_output():
    weight = drawn()
    assert torch.equal(Grid(4, 0).nearest(weight), Grid(4, 64).nearest(weight))


def test_the_ends_are_the_least_and_the_largest_of_each_group():
    assert ends(torch.tensor([[3.0, -1.0, 2.0], [0.0, 5.0, -7.0]])).tolist() == [
        [True, True, False],
        [False, True, True],
    ]
