"""Corrupted test inputs, the same each time: what a model still gets right of them.

Images as in CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261), severities 3 and 5 of 5; typos as by
people who type fast (Pruthi et al. 2019, arXiv:1905.11268).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional

from bench.workloads.workload import Data

Corruptions = Callable[[Data], Iterator[tuple[str, torch.Tensor]]]

TYPOS = (10, 30)
"""Percent of words with a typo."""

CHARACTER_TYPOS = (5, 15)
"""Percent of characters that are others."""

_NOISE = {3: 0.08, 5: 0.10}
_BLUR = {3: 0.7, 5: 1.0}
_CONTRAST = {3: 0.4, 5: 0.15}
_SEED = 0
_SHORTEST = 4
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def of_images(white: float) -> Corruptions:
    """Return noise, blur and less contrast of images (samples, ..., height, width), 0 to `white`."""

    def corruptions(data: Data) -> Iterator[tuple[str, torch.Tensor]]:
        images = data.test_inputs.to(torch.float32) / white
        random = torch.Generator().manual_seed(_SEED)
        for severity, deviation in _NOISE.items():
            noisy = images + deviation * torch.randn(images.shape, generator=random)
            yield f"noise-{severity}", _as_stored(noisy, white, data.test_inputs)
        for severity, deviation in _BLUR.items():
            yield f"blur-{severity}", _as_stored(blurred(images, deviation), white, data.test_inputs)
        mean = images.mean(dim=(-2, -1), keepdim=True)
        for severity, share in _CONTRAST.items():
            yield f"contrast-{severity}", _as_stored((images - mean) * share + mean, white, data.test_inputs)

    return corruptions


def blurred(images: torch.Tensor, deviation: float) -> torch.Tensor:
    """Return images (..., height, width) under a Gaussian of so many pixels; edges go on as they end."""
    reach = math.ceil(3 * deviation)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    weights = (weights / weights.sum()).to(images.dtype)
    flat = images.reshape(-1, 1, *images.shape[-2:])
    wide = functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    across = functional.conv2d(wide, weights.view(1, 1, 1, -1))
    return functional.conv2d(across, weights.view(1, 1, -1, 1)).reshape(images.shape)


def _as_stored(images: torch.Tensor, white: float, stored: torch.Tensor) -> torch.Tensor:
    scaled = images.clamp(0, 1) * white
    return (scaled if stored.is_floating_point() else scaled.round()).to(stored.dtype)


def with_typos(texts: Sequence[str], percent: float) -> list[str]:
    """Return texts in which so many percent of the words of four letters and more have a typo, at random.

    Two letters inside the word change places, one is left out, doubled, or another one.
    """
    random = np.random.RandomState(_SEED)  # whose stream NumPy has frozen
    return [
        " ".join(
            _mistyped(word, random) if random.random_sample() < percent / 100 else word
            for word in text.split(" ")
        )
        for text in texts
    ]


def _mistyped(word: str, random: np.random.RandomState) -> str:
    if len(word) < _SHORTEST or not word.isalpha():
        return word
    at = random.randint(1, len(word) - 2)
    before, letter, after = word[:at], word[at], word[at + 1 :]
    kinds = (
        before + after[0] + letter + after[1:],
        before + after,
        before + 2 * letter + after,
        before + _LETTERS[random.randint(len(_LETTERS))] + after,
    )
    return kinds[random.randint(len(kinds))]


def of_characters(first: int, last: int) -> Corruptions:
    """Return rows of numbers in which some are others, `first` to `last`, at random."""

    def corruptions(data: Data) -> Iterator[tuple[str, torch.Tensor]]:
        random = torch.Generator().manual_seed(_SEED)
        shape = data.test_inputs.shape
        for percent in CHARACTER_TYPOS:
            wrong = torch.rand(shape, generator=random) < percent / 100
            others = torch.randint(first, last + 1, shape, generator=random)
            yield f"typos-{percent}", torch.where(wrong, others, data.test_inputs)

    return corruptions
