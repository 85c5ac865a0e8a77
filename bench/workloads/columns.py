"""Columns of test data by which samples are grouped: whose quality is compared, beside classes."""

from __future__ import annotations

import torch

from bench.workloads.words import PADDING
from bench.workloads.workload import Data


def thirds(values: torch.Tensor, names: tuple[str, str, str]) -> list[str]:
    """Return the third, by name from the lowest, in which each of some values (samples,) lies."""
    numbers = values.double()
    edges = numbers.quantile(torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))
    return [names[int(place)] for place in torch.bucketize(numbers, edges)]


def text_length(data: Data) -> dict[str, list[str]]:
    """Return whether each test text (samples, length) is short, middle or long, padding left out."""
    words = (data.test_inputs != PADDING).sum(dim=1)
    return {"length": thirds(words, ("short", "middle", "long"))}


def brightness(data: Data) -> dict[str, list[str]]:
    """Return whether each test image (samples, ...) is dark, middle or bright, by the mean of its pixels."""
    means = data.test_inputs.double().flatten(1).mean(dim=1)
    return {"brightness": thirds(means, ("dark", "middle", "bright"))}
