"""A plug-in with a metric of its own, and a small workload whose target is set on it.

Sixteen by sixteen images of a bright square in noise; the model marks the pixels of the square.
"""

from __future__ import annotations

import torch
from torch import nn

from bench.metrics import METRICS
from bench.workloads import WORKLOADS
from bench.workloads.workload import Data, Workload

SIDE, SQUARE = 16, 6

METRICS.add(
    "dice",
    label="Dice coefficient",
    unit="share",
    better="higher",
    quality=True,
    about="overlap of the marked pixels with the right ones: 2 |A and B| / (|A| + |B|) (Dice 1945)",
)
METRICS.add(
    "marked",
    label="pixels marked",
    unit="share",
    quality=True,
    about="share of the pixels that are marked",
)

WORKLOADS.add(
    "squares",
    f"{__file__}:SQUARES",
    about="Find a bright square in a noisy image: two convolutions, 256 images",
    quality_metric="dice",
    target=0.8,
    batch_size=32,
    train_steps=48,
    recover_steps=4,
    student_steps=8,
    optimizer="adam:lr=0.01",
)


def data() -> Data:
    """Return 256 images to train on and 64 to test on, (samples, 1, 16, 16), targets 1 inside the square."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, SIDE - SQUARE, (320, 2), generator=generator)
    masks = torch.zeros(320, 1, SIDE, SIDE)
    for mask, (top, left) in zip(masks, corners.tolist(), strict=True):
        mask[0, top : top + SQUARE, left : left + SQUARE] = 1
    images = 2 * masks + torch.randn(masks.shape, generator=generator)
    return Data(images[:256], masks[:256], images[256:], masks[256:])


def same(images: torch.Tensor) -> torch.Tensor:
    return images


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 5, padding=2))


def dice(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return the overlap of the pixels whose logit is above 0 with the right ones."""
    marked, right = outputs > 0, targets > 0.5
    both, either = (marked & right).sum(), marked.sum() + right.sum()
    return {"dice": (2 * both / either).item(), "marked": marked.double().mean().item()}


SQUARES = Workload(
    data=data,
    transform=same,
    model=model,
    loss=nn.functional.binary_cross_entropy_with_logits,
    quality=dice,
)
