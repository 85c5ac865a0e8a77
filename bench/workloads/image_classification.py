"""Small images, one label each."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from bench import datasets
from bench.workloads.classification import accuracy_and_recall, majority_class
from bench.workloads.columns import brightness
from bench.workloads.corruptions import of_images
from bench.workloads.vision_models import FEED_FORWARD_PLAN, ResNet18, VisionTransformer
from bench.workloads.workload import Data, Workload


class SimpleCNN(nn.Module):
    """Two convolutions with pooling, two linear layers; input (batch, 3, size, size), output (batch, 10).

    `width` multiplies the channels of all layers but the last.
    """

    def __init__(self, size: int, width: float = 1.0) -> None:
        super().__init__()
        first, second, hidden = (max(1, round(width * channels)) for channels in (16, 32, 128))
        self.features = nn.Sequential(
            nn.Conv2d(3, first, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(second * (size // 4) ** 2, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, 10)."""
        scores: torch.Tensor = self.classifier(self.features(images))
        return scores


def _data(name: str) -> Data:
    images: datasets.Images = datasets.load(name)
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


def _in_words(size: int, mean: float, deviation: float) -> str:
    return (
        f"Grey images of {size} × {size} pixels: subtract {mean}, divide by {deviation}, and repeat the "
        "result in three channels"
    )


def squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of outputs (batch, classes) against one-hot labels (batch,)."""
    one_hot = nn.functional.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    return nn.functional.mse_loss(outputs, one_hot)


# The mean and deviation are those of the training images.
FASHION_MNIST_SIMPLECNN = Workload(
    data=lambda: _data("fashion-mnist"),
    transform=lambda images: _normalize(images, mean=72.94, deviation=90.02),
    preprocessing=_in_words(28, mean=72.94, deviation=90.02),
    model=lambda: SimpleCNN(size=28),
    loss=nn.functional.cross_entropy,
    quality=accuracy_and_recall,
    baselines=majority_class,
    student=lambda width: SimpleCNN(size=28, width=width),
    classes=(
        *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    columns=brightness,
    corruptions=of_images(white=255),
)

FASHION_MNIST_SIMPLECNN_MSE = replace(FASHION_MNIST_SIMPLECNN, loss=squared_error)

FASHION_MNIST_RESNET18 = replace(
    FASHION_MNIST_SIMPLECNN,
    model=ResNet18,
    student=lambda width: ResNet18(width=width),
    shallow_student=lambda depth: ResNet18(blocks=max(1, round(2 * depth))),
)

FASHION_MNIST_VIT = replace(
    FASHION_MNIST_SIMPLECNN,
    model=lambda: VisionTransformer(size=28, patch=4, layers=4, heads=3),
    student=lambda width: VisionTransformer(size=28, patch=4, layers=4, heads=max(1, round(3 * width))),
    shallow_student=lambda depth: VisionTransformer(
        size=28, patch=4, layers=max(1, round(4 * depth)), heads=3
    ),
    tensor_plan=FEED_FORWARD_PLAN,
)

DIGITS = Workload(
    data=lambda: _data("digits"),
    transform=lambda images: _normalize(images, mean=4.88, deviation=6.02),
    preprocessing=_in_words(8, mean=4.88, deviation=6.02),
    model=lambda: SimpleCNN(size=8),
    loss=nn.functional.cross_entropy,
    quality=accuracy_and_recall,
    baselines=majority_class,
    student=lambda width: SimpleCNN(size=8, width=width),
    classes=tuple("0123456789"),
    columns=brightness,
    corruptions=of_images(white=16),
)
