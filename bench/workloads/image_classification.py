"""Small images, one label each."""

from __future__ import annotations

import torch
from torch import nn

from bench import datasets
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Workload


class SimpleCNN(nn.Module):
    """Two convolutions with pooling, two linear layers; input (batch, 3, size, size), output (batch, 10)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32 * (size // 4) ** 2, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classifier(self.features(images))
        return scores


def _data(name: str) -> Data:
    images = datasets.load(name)
    return Data(
        torch.as_tensor(images.train_images),
        torch.as_tensor(images.train_labels),
        torch.as_tensor(images.test_images),
        torch.as_tensor(images.test_labels),
    )


def _normalize(images: torch.Tensor, mean: float, deviation: float) -> torch.Tensor:
    """Turn grey images (batch, height, width) into three equal channels, zero mean and unit variance."""
    grey = (images.to(torch.float32) - mean) / deviation
    return grey.unsqueeze(1).expand(-1, 3, -1, -1).contiguous()


# The mean and deviation are those of the training images.
FASHION_MNIST_SIMPLECNN = Workload(
    data=lambda: _data("fashion-mnist"),
    transform=lambda images: _normalize(images, mean=72.94, deviation=90.02),
    model=lambda: SimpleCNN(size=28),
    loss=nn.functional.cross_entropy,
    quality=accuracy_and_recall,
)

DIGITS = Workload(
    data=lambda: _data("digits"),
    transform=lambda images: _normalize(images, mean=4.88, deviation=6.02),
    model=lambda: SimpleCNN(size=8),
    loss=nn.functional.cross_entropy,
    quality=accuracy_and_recall,
)
