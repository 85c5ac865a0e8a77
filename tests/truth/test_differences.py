"""Masks neither hide an error nor are one."""

from __future__ import annotations

import math

import pytest
import torch

from bench.instruments.differences import difference

SCORES = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
MASKS = [-1e4, -1e9, torch.finfo(torch.float32).min, -math.inf]


def masked(value: float, scores: torch.Tensor = SCORES) -> torch.Tensor:
    return torch.where(torch.arange(6) >= 3, torch.full_like(scores, value), scores)


@pytest.mark.parametrize("mask", MASKS)
def test_an_error_is_relative_to_what_is_not_masked(mask: float) -> None:
    largest = SCORES[:, :3].abs().max().item()
    found = difference(masked(mask, SCORES + 0.1), masked(mask))
    assert found.relative == pytest.approx(0.1 / largest, rel=1e-4) and found.fault == ""
    assert found.scale == pytest.approx(largest)
    assert (found.compared, found.total) == (24, 48) and "24 of 48 masked" in found.method
    turned = difference(masked(mask, -SCORES), masked(mask))
    assert turned.cosine == pytest.approx(-1)


@pytest.mark.parametrize("mask", MASKS)
def test_masks_at_other_places_are_a_fault_whatever_is_allowed(mask: float) -> None:
    moved = masked(mask)
    moved[0, 0] = mask
    lifted = masked(mask)
    lifted[0, 5] = 0.5
    for outputs in (moved, lifted):
        assert (
            "1 of 48 outputs are masked or infinite in one of both only"
            in difference(outputs, masked(mask)).fault
        )


def test_masks_of_a_narrower_type_are_at_the_same_places() -> None:
    own = masked(torch.finfo(torch.float32).min)
    assert difference(masked(-math.inf), own).fault == difference(masked(-65504.0), own).fault == ""


def test_what_is_no_number_is_a_fault_where_the_reference_is_one() -> None:
    lost = SCORES.clone()
    lost[0, 0] = math.nan
    assert "1 of 48 are NaN" in difference(lost, SCORES).fault
    assert difference(lost, lost).fault == "" and difference(lost, lost).compared == 47
    assert difference(lost, lost).method.endswith("; 1 of 48 NaN in the reference")
    assert difference(SCORES * math.nan, SCORES * math.nan).fault == "no output is finite in both"


def test_values_far_below_the_others_are_compared_at_their_own_scale() -> None:
    own = torch.tensor([1.0, 2.0, -5e4])
    assert difference(own + torch.tensor([0.1, 0.0, 0.0]), own, masks=False).relative == pytest.approx(0.05)
    assert difference(own * torch.tensor([1.0, 1.0, 1.1]), own, masks=False).relative == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("far", "spread"),
    [((-1e9, -1e4), 50.0), ((-1e9, -1500.0), 10.0), ((1e9,), 1.0), ((1e9, -1e9), 1.0), ((-500.0,), 0.01)],
)
@pytest.mark.parametrize("masks", [True, False])
def test_no_number_that_is_far_larger_hides_an_error(
    far: tuple[float, ...], spread: float, masks: bool
) -> None:
    columns = torch.tensor(far).expand(8, len(far))
    own = torch.cat([SCORES * spread, columns], dim=1)
    other = torch.cat([SCORES.flip(0) * spread, columns], dim=1)
    found = difference(other, own, masks=masks)
    assert found.scale == pytest.approx(spread * SCORES.abs().max().item())
    assert found.relative > 0.5 and found.cosine < 0.5 and found.fault == ""
    assert difference(own, own, masks=masks).relative == 0


def test_one_number_between_the_masks_and_the_rest_hides_no_error() -> None:
    own = torch.tensor([1.0, 2, 3, -1e4, 120])
    assert difference(torch.tensor([1.9, 2, 3, -1e4, 120]), own).relative == pytest.approx(0.3)


def test_what_is_far_larger_is_compared_too() -> None:
    own = torch.cat([SCORES.flatten(), torch.tensor([5e4])])
    found = difference(torch.where(own > 1e4, own * 1.1, own), own)
    assert found.relative == pytest.approx(0.1) and "; 1 of 49 far larger, over a scale" in found.method
    low = masked(-1e4)
    assert difference(torch.where(low < -1e3, low * 2, low), low).relative == pytest.approx(1)


def test_a_number_near_0_is_of_the_scale_of_the_others() -> None:
    own = torch.tensor([300.0, 0.5, -200.0, 150.0, 0.0])
    assert difference(own + 1, own).relative == pytest.approx(1 / 300)


def test_numbers_of_one_size_are_no_masks() -> None:
    prices = torch.tensor([-2e5, -1e4, -3e3])
    assert difference(prices * 1.01, prices).compared == 3


def test_both_parts_of_complex_numbers_are_compared() -> None:
    own = torch.tensor([1 + 2j, 3 - 1j])
    assert difference(own + 0.3j, own).relative == pytest.approx(0.1)
