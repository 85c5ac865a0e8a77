"""Corrupted inputs are the same each time, of the stored form, and worse the more severe they are."""

from __future__ import annotations

import pytest
import torch

from bench.workloads.corruptions import blurred, of_characters, of_images, with_typos
from bench.workloads.image_classification import DIGITS
from bench.workloads.workload import Data


def images(dtype: torch.dtype = torch.uint8) -> Data:
    pixels = (torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 255).to(dtype)
    return Data(pixels, torch.zeros(8), pixels, torch.zeros(8))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_corrupted_images_have_the_form_of_the_stored_ones(dtype: torch.dtype) -> None:
    data = images(dtype)
    found = dict(of_images(white=255)(data))
    assert list(found) == ["noise-3", "noise-5", "blur-3", "blur-5", "contrast-3", "contrast-5"]
    for corrupted in found.values():
        assert corrupted.dtype == dtype and corrupted.shape == data.test_inputs.shape
        assert corrupted.min() >= 0 and corrupted.max() <= 255


def test_more_severe_is_further_away_and_each_time_the_same() -> None:
    data = images()
    found, again = (dict(of_images(white=255)(data)) for _ in range(2))
    for kind in ("noise", "blur", "contrast"):
        near, far = (
            (found[f"{kind}-{severity}"].float() - data.test_inputs.float()).abs().mean()
            for severity in (3, 5)
        )
        assert 0 < near < far
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_blur_keeps_an_even_image_and_the_mean() -> None:
    even = torch.full((2, 10, 10), 0.5)
    assert torch.allclose(blurred(even, 1.0), even, atol=1e-6)
    point = torch.zeros(1, 15, 15)
    point[0, 7, 7] = 1
    soft = blurred(point, 1.0)
    assert soft.sum() == pytest.approx(1, abs=1e-5) and soft.max() < 0.2


def test_typos_change_some_words_a_little() -> None:
    texts = ["the quick brown foxes jumped over several lazy sleeping dogs"] * 200
    few, many = (with_typos(texts, percent) for percent in (10, 30))
    assert with_typos(texts, 10) == few and few != many

    def changed(found: list[str]) -> float:
        pairs = [
            (one, other)
            for text, typed in zip(texts, found, strict=True)
            for one, other in zip(text.split(), typed.split(), strict=True)
        ]
        assert all(abs(len(one) - len(other)) <= 1 and one[0] == other[0] for one, other in pairs)
        return sum(one != other for one, other in pairs) / len(pairs)

    assert 0.02 < changed(few) < changed(many) < 0.3


def test_characters_of_rows_are_others() -> None:
    rows = torch.ones(50, 40, dtype=torch.int64)
    data = Data(rows, rows, rows, rows)
    found = dict(of_characters(2, 9)(data))
    shares = [(found[name] != rows).double().mean().item() for name in ("typos-5", "typos-15")]
    assert shares == pytest.approx([0.05, 0.15], abs=0.02)
    assert found["typos-15"].max() <= 9


def test_digits_can_be_corrupted_and_grouped() -> None:
    data = DIGITS.data()
    assert DIGITS.corruptions is not None
    assert len(dict(DIGITS.corruptions(data))) == 6
    (column,) = DIGITS.columns(data).values()
    assert set(column) == {"dark", "middle", "bright"} and len(column) == len(data.test_inputs)
