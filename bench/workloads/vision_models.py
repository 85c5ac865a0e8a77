"""Networks for images that are known by name: a residual one, and a transformer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from techniques.parallel import TensorPlan

_HEAD_WIDTH = 32

FEED_FORWARD_PLAN = TensorPlan(("blocks.*.feed_forward.0",), ("blocks.*.feed_forward.2",))
"""How a `VisionTransformer` with an odd number of heads is split over devices: its feed-forward blocks."""


class ResNet18(nn.Module):
    """A residual network of 18 layers (He et al. 2016).

    Input (batch, 3, height, width), output (batch, classes). It has ImageNet's first layers, which make the
    image four times smaller on each side. `width` multiplies the channels of all layers; each of the four
    stages has so many `blocks`.
    """

    def __init__(self, classes: int = 10, width: float = 1.0, blocks: int = 2) -> None:
        super().__init__()
        first, *later = (max(1, round(width * channels)) for channels in (64, 128, 256, 512))
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, kernel_size=7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        stages = [ResidualBlock(first, first) for _ in range(blocks)]
        before = first
        for channels in later:
            stages.append(ResidualBlock(before, channels, stride=2))
            stages += [ResidualBlock(channels, channels) for _ in range(blocks - 1)]
            before = channels
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, classes)."""
        features = self.blocks(self.stem(images)).mean(dim=(2, 3))
        scores: torch.Tensor = self.classifier(features)
        return scores


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to their input (batch, before, height, width).

    Output (batch, channels, height / stride, width / stride). Source: He et al. 2016, "Deep Residual
    Learning for Image Recognition".
    """

    def __init__(self, before: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(before, channels, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (batch, channels, height / stride, width / stride), none below 0."""
        return torch.relu(self.convolutions(images) + self.shortcut(images))


class VisionTransformer(nn.Module):
    """A small Vision Transformer (Dosovitskiy et al. 2021).

    Input (batch, 3, size, size), output (batch, classes). Each of its `heads` has 32 channels. Its
    scores come from the mean over the patches, which needs no token of its own (Beyer et al. 2022,
    arXiv:2205.01580).
    """

    def __init__(self, size: int, patch: int, layers: int, heads: int, classes: int = 10) -> None:
        super().__init__()
        width = _HEAD_WIDTH * heads
        self.patches = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, classes)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        scores: torch.Tensor = self.classifier(self.norm(self.blocks(tokens)).mean(dim=1))
        return scores


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward block, each after a norm; tokens (batch, count, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens of the same shape."""
        tokens = tokens + self._attend(self.attention_norm(tokens))
        added: torch.Tensor = tokens + self.feed_forward(self.feed_norm(tokens))
        return added

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed: torch.Tensor = self.output(
            scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        )
        return mixed
