"""Which tissue expresses a protein, from an image that does not show it: a virtual stain.

A pathologist stains a slide for a protein and judges where it is. Here the model sees the nuclei only, the
haematoxylin of a patch, and says whether the patch has more of the protein's stain than half of all patches
have. Both come from one image, whose stains are taken apart (Ruifrok & Johnston 2001) by the colours that its
own pixels have (Macenko et al. 2009): with those of a textbook, much protein would show as less than no
haematoxylin. The slide is cut into blocks, and no two parts of the data share one; it is of one patient, so
nothing follows for others.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import datasets
from bench.workloads.medical_diagnosis import area_under_curve, diagnosis
from bench.workloads.workload import Data, Samples, Workload

CLEAR = 0.345
"""Pixels of a lower optical density (0.15 by powers of ten) count as unstained (Macenko et al. 2009)."""

EXTREME = 0.1
"""Per cent of the stained pixels that lie beyond a stain's own colour, by noise."""

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


def densities(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the optical density of each colour, (..., 3), from pixels (..., 3).

    Light falls off by a factor with each layer of a stain (Beer and Lambert): densities are sums over stains.
    """
    found: NDArray[np.float64] = -np.log((image.astype(np.float64) + 1) / 256)
    return found


def stain_colours(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the densities of haematoxylin and of DAB, (2, 3), each of length 1, from pixels (pixels, 3).

    All pixels lie in a plane between the two stains, whose colours are the outermost directions there
    (Macenko et al. 2009, "A Method for Normalizing Histology Slides for Quantitative Analysis").
    Haematoxylin, which is blue, takes more of the red.
    """
    stained = density[density.min(axis=1) > CLEAR]
    plane = np.linalg.eigh(np.cov(stained.T))[1][:, [2, 1]]
    plane *= np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    along, across = (stained @ plane).T
    ends = np.radians(np.percentile(np.degrees(np.arctan2(across, along)), [EXTREME, 100 - EXTREME]))
    found = (plane @ np.array([np.cos(ends), np.sin(ends)])).T
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found[np.argsort(-found[:, 0] / found.sum(axis=1))]


def stains(
    density: NDArray[np.float64], colours: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how much haematoxylin and how much DAB each pixel has, (height, width) each, 0 or more.

    `density` is (height, width, 3), `colours` are (2, 3). What neither explains is left out.
    """
    amounts = np.maximum(0.0, density @ np.linalg.pinv(colours))
    return amounts[..., 0], amounts[..., 1]


def _data() -> Data:
    density = densities(datasets.load("stained-tissue"))
    parts = _parts(density.shape[:2])
    trained_on = [
        density[row : row + BLOCK, column : column + BLOCK].reshape(-1, 3) for row, column in parts[2]
    ]
    nuclei, protein = stains(density, stain_colours(np.concatenate(trained_on)))
    test, validation, train = (_cut(nuclei, protein, blocks) for blocks in parts)
    # Smoke runs and searches look at the first samples only: these come from all blocks.
    test, validation = _by_place(test, len(parts[0])), _by_place(validation, len(parts[1]))
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


def _by_place(
    cut: tuple[NDArray[np.float64], NDArray[np.float64]], blocks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return patches, (patches, ...) of one block after the other, with the first of each block first."""
    patches, amounts = cut
    order = np.arange(len(amounts)).reshape(blocks, -1).T.ravel()
    return patches[order], amounts[order]


def _skew(pixels: torch.Tensor) -> torch.Tensor:
    """Return the third standardized moment of patches (patches, pixels)."""
    return ((pixels - pixels.mean(1, keepdim=True)) / pixels.std(1, keepdim=True)).pow(3).mean(1)


def _without_training(data: Data) -> dict[str, float]:
    """Return the AUC of single numbers of a patch, each the better way round in training.

    They are how much haematoxylin it has, how unevenly, with how many dark pixels among light ones, and how
    many of its pixels have none, which stains that are taken apart wrongly would betray.
    """

    def area(feature: torch.Tensor, known: torch.Tensor, sign: float = 1.0) -> float:
        return area_under_curve(sign * feature, known == 1)

    found = {}
    least = data.train_inputs.min()
    features: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "mean of the stain": lambda pixels: pixels.mean(1),
        "spread of the stain": lambda pixels: pixels.std(1),
        "skew of the stain": _skew,
        "pixels without the stain": lambda pixels: (pixels <= least).double().mean(1),
    }
    for name, feature in features.items():
        trained, tested = (feature(inputs.flatten(1)) for inputs in (data.train_inputs, data.test_inputs))
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
