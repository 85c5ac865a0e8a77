"""Stained tissue: stains are taken apart as they were mixed, and no two parts of the data share a pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.workloads import WORKLOADS, stained_tissue
from bench.workloads.stained_tissue import (
    BLOCK,
    PATCH,
    STAINED_TISSUE_CNN,
    STRIDE,
    PatchCNN,
    densities,
    stain_colours,
    stains,
)
from bench.workloads.workload import Data

COLOURS = np.array([[0.65, 0.70, 0.29], [0.27, 0.57, 0.78]])
COLOURS /= np.linalg.norm(COLOURS, axis=1, keepdims=True)


def dyed(haematoxylin: np.ndarray, dab: np.ndarray) -> np.ndarray:
    """Return pixels (1, pixels, 3) that have so much of each stain, by the law of Beer and Lambert."""
    light = np.exp(-(np.stack([haematoxylin, dab], axis=-1) @ COLOURS))
    return np.round(256 * light - 1).clip(0, 255).astype(np.uint8)[None]


def test_stains_are_taken_apart_as_they_were_mixed() -> None:
    amounts = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.7, 0.4]])
    found = stains(densities(dyed(*amounts.T)), COLOURS)
    assert np.stack(found, axis=-1)[0] == pytest.approx(amounts, abs=0.02)


def test_the_colours_of_the_stains_are_found_in_the_pixels() -> None:
    generator = np.random.default_rng(0)
    haematoxylin, dab = generator.uniform(0.2, 2.0, (2, 4000))
    dab[:1000] = haematoxylin[1000:1500] = 0.0
    density = densities(dyed(haematoxylin, dab))
    found = stain_colours(density.reshape(-1, 3))
    assert found == pytest.approx(COLOURS, abs=0.03)
    for own, expected in zip(stains(density, found), (haematoxylin, dab), strict=True):
        assert np.abs(own[0] - expected).mean() < 0.05


def test_no_pixel_has_less_than_none_of_a_stain() -> None:
    beyond = np.array([[[0.9, 0.2, 0.1], [0.1, 0.2, 0.9]]])  # bluer and browner than either
    assert min(amount.min() for amount in stains(beyond, COLOURS)) == 0.0


@pytest.fixture(scope="module")
def data() -> Data:
    try:
        datasets.fetch("stained-tissue")
    except DataError as error:
        pytest.skip(f"needs the micrograph: {error}")
    return STAINED_TISSUE_CNN.data()


def test_parts_share_no_block() -> None:
    parts = stained_tissue._parts((512, 512))
    corners = [tuple(corner) for part in parts for corner in part.tolist()]
    assert len(corners) == len(set(corners)) == (512 // BLOCK) ** 2
    assert all(row % BLOCK == column % BLOCK == 0 for row, column in corners)


def test_half_of_the_training_patches_have_much_protein(data: Data) -> None:
    a_block = ((BLOCK - PATCH) // STRIDE + 1) ** 2
    assert data.validation is not None
    assert len(data.test_inputs) == len(data.validation.inputs) == stained_tissue.TEST_BLOCKS * a_block
    assert data.train_targets.double().mean().item() == pytest.approx(0.5, abs=0.01)
    assert data.train_inputs.mean().item() == pytest.approx(0.0, abs=1e-3)
    assert 0.2 < data.test_targets.double().mean().item() < 0.8


def test_no_single_number_of_a_patch_says_what_the_net_is_to_find(data: Data) -> None:
    """Also none of how many pixels have no stain: by a textbook's colours that alone had 0.96."""
    assert data.validation is not None
    looked_at = replace(data, test_inputs=data.validation.inputs, test_targets=data.validation.targets)
    target = WORKLOADS.get("stained-tissue-cnn").target
    for parts in (data, looked_at):
        found = STAINED_TISSUE_CNN.baselines(parts)
        assert found["pixels without the stain"] < 0.65
        assert max(found.values()) < target - 0.03


@pytest.mark.parametrize("width", [0.25, 1.0])
def test_a_net_of_any_width_takes_patches(width: float) -> None:
    assert PatchCNN(width)(torch.zeros(2, 1, PATCH, PATCH)).shape == (2, 2)
