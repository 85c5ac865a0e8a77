"""How much of a model's quality each layer costs where that layer alone is rounded or pruned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from bench.models.predictions import Predictions
from bench.models.training import predict
from bench.workloads.workload import Samples, Workload
from techniques.compression.sensitivity import (
    Change,
    changed,
    pruned_weight,
    relative_error,
    rounded_weight,
)
from techniques.layers import layers_of
from techniques.parametrizations import make_plain

BITS, SPARSITY = "bits", "sparsity"


@dataclass(frozen=True)
class LayerLoss:
    """What changing the weights of one layer costs.

    `change` is `bits` or `sparsity`, `amount` the bits left of a weight or the share of weights set to 0.
    `relative_error` is of the model's main output; `quality` is None where the workload has none.
    """

    layer: str
    weights: int
    change: str
    amount: float
    relative_error: float
    quality: float | None
    loss_points: float | None


def layer_losses(
    model: torch.nn.Module,
    workload: Workload,
    samples: Samples,
    metric: str,
    bits: Sequence[int],
    sparsities: Sequence[float],
) -> Iterator[LayerLoss]:
    """Yield the loss of each layer for each number of bits, then for each sparsity.

    Makes computed weights of `model` plain, and leaves activations as they are. `metric` is that of the
    workload's target.
    """
    make_plain(model)
    reference = predict(model, workload, samples.inputs, torch.device("cpu"))
    before = _quality(workload, reference, samples, metric)
    changes: list[tuple[str, float, Change]] = [
        *((BITS, each, partial(rounded_weight, bits=each)) for each in bits),
        *((SPARSITY, each, partial(pruned_weight, sparsity=each)) for each in sparsities),
    ]
    for name, layer in layers_of(model).items():
        weights = sum(parameter.numel() for parameter in layer.parameters())
        for change, amount, weight_change in changes:
            with changed([layer], weight_change):
                outputs = predict(model, workload, samples.inputs, torch.device("cpu"))
            after = _quality(workload, outputs, samples, metric)
            lost = 100 * (before - after) if before is not None and after is not None else None
            error = relative_error(outputs.main.float(), reference.main.float())
            yield LayerLoss(name, weights, change, amount, error, after, lost)


def most_sensitive_first(losses: Sequence[LayerLoss]) -> list[str]:
    """Return the names of layers by the sum of their relative errors, the largest first."""
    sums: dict[str, float] = {}
    for loss in losses:
        sums[loss.layer] = sums.get(loss.layer, 0.0) + loss.relative_error
    return sorted(sums, key=lambda layer: -sums[layer])


def _quality(workload: Workload, outputs: Predictions, samples: Samples, metric: str) -> float | None:
    if workload.quality is None:
        return None
    return workload.quality(outputs.as_returned, samples.targets)[metric]
