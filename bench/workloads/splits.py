"""Validation data for workloads whose data bring none: some of the training data, the same ones each time.

As many samples as the test set has, but at most a tenth of the training set, a fifth of a small one. Samples
of one group stay on one side; so do those whose inputs are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.workloads.workload import Data, Samples

SHARE, SMALL_SHARE = 0.1, 0.2
SMALL = 5_000
"""Training samples below which a tenth would be too few to tell qualities apart."""

SEED = 0
_COMPARED = 4_096
"""Elements of an input that are compared, evenly spaced: enough to find copies, and fast on large inputs."""


def data_of(arrays: Mapping[str, NDArray[Any]], dtype: torch.dtype | None = None) -> Data:
    """Return data of `train_inputs`, `train_targets`, and the same of `validation` and `test`, as tensors."""

    def part(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = (torch.as_tensor(arrays[f"{name}_{kind}"]) for kind in ("inputs", "targets"))
        return inputs.to(dtype or inputs.dtype), targets.to(dtype or targets.dtype)

    return Data(*part("train"), *part("test"), validation=Samples(*part("validation")))


def with_validation(data: Data) -> Data:
    """Return data that have validation samples: their own, or some of the training samples.

    `notes` say where these could not be kept apart.
    """
    if data.validation is not None:
        return data
    wanted = validation_count(len(data.train_inputs), len(data.test_inputs))
    groups = _copies(data.train_inputs) if data.groups is None else data.groups.cpu().numpy()
    held, notes = _split(groups, wanted)
    kept, chosen = (torch.from_numpy(np.flatnonzero(part)) for part in (~held, held))
    if not len(kept):
        kept = chosen
    return replace(
        data,
        train_inputs=data.train_inputs[kept],
        train_targets=data.train_targets[kept],
        validation=Samples(data.train_inputs[chosen], data.train_targets[chosen]),
        groups=None if data.groups is None else data.groups[kept],
        notes=(*data.notes, *notes),
    )


def validation_count(training: int, test: int) -> int:
    """Return how many of so many training samples become validation samples."""
    share = SMALL_SHARE if training < SMALL else SHARE
    return max(1, min(test, round(share * training)))


def held_out(groups: NDArray[np.int64], wanted: int) -> NDArray[np.bool_]:
    """Return which samples (n,) are held out: whole groups in a fixed random order, `wanted` samples or more.

    No group that is larger than `wanted` is held out. All False where there is no smaller one.
    """
    numbers, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.RandomState(SEED).permutation(len(numbers))  # whose stream NumPy has frozen
    order = order[sizes[order] <= wanted]
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = np.zeros(len(numbers), dtype=np.bool_)
    chosen[order[before < wanted]] = True
    held: NDArray[np.bool_] = chosen[members]
    return held


def _split(groups: NDArray[np.int64], wanted: int) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which samples are held out, and a note where groups cannot be kept apart."""
    held = held_out(groups, wanted)
    if held.any() and not held.all():
        return held, []
    note = "training and validation samples have inputs or groups in common: there are too few"
    return held_out(np.arange(len(groups)), wanted), [note]


def _copies(inputs: torch.Tensor) -> NDArray[np.int64]:
    """Return a number for each input, the same for inputs that are equal."""
    if inputs.layout != torch.strided:
        return np.arange(len(inputs))
    rows = inputs.detach().cpu().resolve_conj().reshape(len(inputs), -1)
    places = torch.linspace(0, max(0, rows.shape[1] - 1), min(rows.shape[1], _COMPARED)).long()
    numbers: dict[bytes, int] = {}
    return np.array(
        [
            numbers.setdefault(blake2b(row, digest_size=16).digest(), len(numbers))
            for row in rows[:, places].contiguous().view(torch.uint8).numpy()
        ],
        dtype=np.int64,
    )
