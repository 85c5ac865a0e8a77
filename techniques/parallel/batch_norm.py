"""Batch normalization over the shares of all ranks: what one device computes for the whole batch."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm


def synchronize_batch_norms(model: torch.nn.Module, ranks: int) -> None:
    """Make each batch normalization of a model take its statistics over the batch of all ranks.

    PyTorch's `SyncBatchNorm` does so on GPUs only. Shares of a batch must be of equal size.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            forward: Any = partial(_normalize, module, ranks)
            module.__dict__["forward"] = forward


def _normalize(module: _BatchNorm, ranks: int, batch: torch.Tensor) -> torch.Tensor:
    """Normalize (samples, channels, ...) as the module does, in training over the samples of all ranks.

    Source: Ioffe & Szegedy 2015, "Batch Normalization". The variance is that of deviations from the mean of
    all, in fp32 at least.
    """
    if not module.training and module.running_mean is not None:
        return type(module).forward(module, batch)
    others = [0, *range(2, batch.dim())]
    shape = [1, -1, *[1] * (batch.dim() - 2)]
    values = batch.to(torch.promote_types(batch.dtype, torch.float32))
    count = ranks * values.numel() // values.shape[1]
    mean = _Sum.apply(values.sum(others)) / count
    deviation = values - mean.view(shape)
    variance = _Sum.apply(deviation.square().sum(others)) / count
    if module.training:
        _update(module, mean.detach(), variance.detach() * count / max(1, count - 1))
    found = deviation * torch.rsqrt(variance + module.eps).view(shape)
    if module.affine:
        found = found * module.weight.view(shape) + module.bias.view(shape)
    return found.to(batch.dtype)


@torch.no_grad()
def _update(module: _BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Take a batch into the running statistics, as PyTorch does; without momentum they are plain means."""
    if not module.track_running_stats or module.running_mean is None or module.running_var is None:
        return
    share = module.momentum
    if module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
        share = 1 / float(module.num_batches_tracked) if share is None else share
    module.running_mean.lerp_(mean.to(module.running_mean.dtype), share or 0.0)
    module.running_var.lerp_(variance.to(module.running_var.dtype), share or 0.0)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all ranks. Each rank's part has the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor) -> torch.Tensor:
        total = own.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
