"""Stained tissue: stains are taken apart as they were mixed, and no two parts of the data share a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.workloads import stained_tissue
from bench.workloads.stained_tissue import (
    BLOCK,
    DAB,
    HAEMATOXYLIN,
    PATCH,
    STAINED_TISSUE_CNN,
    STRIDE,
    PatchCNN,
    stains,
)
from bench.workloads.workload import Data


def dyed(haematoxylin: float, dab: float) -> np.ndarray:
    """Return a pixel that has so much of each stain, by the law of Beer and Lambert."""
    vectors = np.array([HAEMATOXYLIN, DAB])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    light = np.exp(-(np.array([haematoxylin, dab]) @ vectors))
    return np.round(256 * light - 1).clip(0, 255).astype(np.uint8).reshape(1, 1, 3)


@pytest.mark.parametrize(("haematoxylin", "dab"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.7, 0.4)])
def test_stains_are_taken_apart_as_they_were_mixed(haematoxylin: float, dab: float) -> None:
    found = stains(dyed(haematoxylin, dab))
    assert [float(amount[0, 0]) for amount in found] == pytest.approx([haematoxylin, dab], abs=0.05)


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
    assert max(STAINED_TISSUE_CNN.baselines(data).values()) < 0.75


@pytest.mark.parametrize("width", [0.25, 1.0])
def test_a_net_of_any_width_takes_patches(width: float) -> None:
    assert PatchCNN(width)(torch.zeros(2, 1, PATCH, PATCH)).shape == (2, 2)
