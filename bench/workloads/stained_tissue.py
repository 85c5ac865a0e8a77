"""Which tissue expresses a protein, from an image that does not show it: a virtual stain.

A pathologist stains a slide for a protein and judges where it is. Here the model sees the nuclei only, the
haematoxylin of a patch, and says whether the patch has more of the protein's stain than half of all patches
have. Both come from one image, whose stains are taken apart (Ruifrok & Johnston 2001). The slide is cut into
blocks, and no two parts of the data share one; it is of one patient, so nothing follows for others.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import datasets
from bench.workloads.medical_diagnosis import area_under_curve, diagnosis
from bench.workloads.workload import Data, Samples, Workload

HAEMATOXYLIN = (0.650, 0.704, 0.286)
DAB = (0.268, 0.570, 0.776)
"""Light that a stain takes from red, green and blue, as Ruifrok & Johnston (2001) measured it."""

PATCH, BLOCK, STRIDE = 32, 64, 4
"""Pixels on a side of a patch and of a block, and from a patch of a block to the next."""

TEST_BLOCKS = VALIDATION_BLOCKS = 13
SPLIT_SEED = 0


class PatchCNN(nn.Module):
    """Three convolutions, the mean over the patch, one linear layer.

    Input (batch, 1, 32, 32), output (batch, 2). `width` multiplies the 16, 32 and 64 channels.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = [1, *(max(1, round(width * count)) for count in (16, 32, 64))]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels[-1], 2)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, 2)."""
        scores: torch.Tensor = self.classifier(self.features(patches).mean(dim=(2, 3)))
        return scores


def stains(image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how much haematoxylin and how much DAB each pixel has, (height, width) each.

    The image is (height, width, 3). Light falls off by a factor with each layer of a stain (Beer and
    Lambert), so the logarithm of what comes through is a sum over stains: the two, and what neither explains.
    """
    both = np.array([HAEMATOXYLIN, DAB])
    vectors = np.vstack([both, np.cross(*both)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    density = -np.log((image.astype(np.float64) + 1) / 256)
    amounts = density @ np.linalg.inv(vectors)
    return amounts[..., 0], amounts[..., 1]


def _data() -> Data:
    nuclei, protein = stains(datasets.load("stained-tissue"))
    test, validation, train = (_cut(nuclei, protein, blocks) for blocks in _parts(nuclei.shape))
    mean, spread, usual = train[0].mean(), train[0].std(), np.median(train[1])

    def samples(patches: NDArray[np.float64], amounts: NDArray[np.float64]) -> Samples:
        inputs = torch.as_tensor((patches - mean) / spread, dtype=torch.float32)
        return Samples(inputs, torch.as_tensor(amounts > usual).long())

    trained, tested = samples(*train), samples(*test)
    return Data(
        *(trained.inputs, trained.targets), *(tested.inputs, tested.targets), validation=samples(*validation)
    )


def _parts(shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the corners (blocks, 2) of the blocks of test, validation and training."""
    rows, columns = (np.arange(0, side - BLOCK + 1, BLOCK) for side in shape)
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    order = np.random.RandomState(SPLIT_SEED).permutation(len(corners))  # whose stream NumPy has frozen
    test, validation, train = np.split(corners[order], [TEST_BLOCKS, TEST_BLOCKS + VALIDATION_BLOCKS])
    return test, validation, train


def _cut(
    nuclei: NDArray[np.float64], protein: NDArray[np.float64], blocks: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the patches of blocks, (patches, 1, PATCH, PATCH), and how much protein each has, (patches,)."""
    within = range(0, BLOCK - PATCH + 1, STRIDE)
    places = [(row + down, column + right) for row, column in blocks for down in within for right in within]
    of_nuclei = np.stack([nuclei[row : row + PATCH, column : column + PATCH] for row, column in places])
    amounts = [protein[row : row + PATCH, column : column + PATCH].mean() for row, column in places]
    return of_nuclei[:, None], np.array(amounts)


def _without_training(data: Data) -> dict[str, float]:
    """Return the AUC of how much haematoxylin a patch has, and of how unevenly, each the better way round."""

    def area(feature: torch.Tensor, known: torch.Tensor, sign: float = 1.0) -> float:
        return area_under_curve(sign * feature, known == 1)

    found = {}
    for name, feature in (("mean of the stain", torch.mean), ("spread of the stain", torch.std)):
        trained, tested = (feature(inputs.flatten(1), 1) for inputs in (data.train_inputs, data.test_inputs))
        sign = 1.0 if area(trained, data.train_targets) >= 0.5 else -1.0
        found[name] = area(tested, data.test_targets, sign)
    return found


STAINED_TISSUE_CNN = Workload(
    data=_data,
    transform=lambda patches: patches,
    model=PatchCNN,
    loss=nn.functional.cross_entropy,
    quality=diagnosis,
    student=PatchCNN,
    classes=("little protein", "much protein"),
    baselines=_without_training,
)
