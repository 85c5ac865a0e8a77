"""How each way of training on several devices wraps or shards a model, in every rank."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from techniques.backends.training import blocks_of
from techniques.parallel import TensorPlan
from techniques.parallel.batch_norm import synchronize_batch_norms
from techniques.parallel.ranks import Ranks
from techniques.registry import CannotApply


def none(model: torch.nn.Module, ranks: Ranks, plan: TensorPlan | None) -> torch.nn.Module:
    """Return the model itself."""
    return model


def data_parallel(model: torch.nn.Module, ranks: Ranks, plan: TensorPlan | None) -> torch.nn.Module:
    """Return the model wrapped so that its gradients are averaged over the ranks as they come.

    Batch normalization takes its statistics over the whole batch. A parameter without a gradient is allowed:
    the graph of the first step says which (`static_graph`).
    """
    synchronize_batch_norms(model, ranks.size)
    device = next(model.parameters()).device
    ids = [device.index] if device.type == "cuda" else None
    wrapped = torch.nn.parallel.DistributedDataParallel(model, device_ids=ids, static_graph=True)
    # Buffers are alike in all ranks: batch normalization, which changes them, sees the whole batch.
    wrapped.require_forward_param_sync = False
    return wrapped


def fully_sharded(model: torch.nn.Module, ranks: Ranks, plan: TensorPlan | None) -> torch.nn.Module:
    """Shard the weights of each block, and of the rest, over the ranks; they are gathered as they are used.

    Raises CannotApply where a weight has no dimensions, which cannot be sharded.
    """
    whole = [name for name, parameter in model.named_parameters() if parameter.dim() == 0]
    if whole:
        raise CannotApply(f"parallel=fsdp: {whole[0]} is a single number, which cannot be sharded")
    synchronize_batch_norms(model, ranks.size)
    mesh = _mesh(model, ranks)
    for block in blocks_of(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def tensor_parallel(model: torch.nn.Module, ranks: Ranks, plan: TensorPlan | None) -> torch.nn.Module:
    """Split the layers that the plan names over the ranks.

    Raises CannotApply without a plan, where it names what the model has not, and where the ranks do not
    divide a layer or a count.
    """
    if plan is None:
        raise CannotApply("parallel=tp requires a workload that declares how its layers are split")
    columns, rows = (list(_linear(model, names)) for names in (plan.columns, plan.rows))
    for names, sizes in ((columns, "out_features"), (rows, "in_features")):
        for name in names:
            _divided(f"{name}.{sizes}", getattr(model.get_submodule(name), sizes), ranks.size)
    for pattern in plan.counts:
        _divide_counts(model, pattern, ranks.size)
    styles: dict[str, Any] = {name: ColwiseParallel() for name in columns}
    styles |= {name: RowwiseParallel() for name in rows}
    return parallelize_module(model, _mesh(model, ranks), styles)


def _mesh(model: torch.nn.Module, ranks: Ranks) -> DeviceMesh:
    return init_device_mesh(next(model.parameters()).device.type, (ranks.size,))


def _linear(model: torch.nn.Module, patterns: Iterable[str]) -> Iterator[str]:
    """Yield the names of the linear layers that patterns name; each must name one at least."""
    for pattern in patterns:
        found = [name for name, _ in model.named_modules() if _fits(name, pattern)]
        if not found:
            raise CannotApply(f"parallel=tp: the plan names {pattern}, which the model does not have")
        for name in found:
            if not isinstance(model.get_submodule(name), torch.nn.Linear):
                raise CannotApply(f"parallel=tp: the plan names {name}, which is not a linear layer")
            yield name


def _fits(name: str, pattern: str) -> bool:
    """Say whether a pattern names a module; `*` stands for one part of the name."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^.]+"), name) is not None


def _divide_counts(model: torch.nn.Module, pattern: str, ranks: int) -> None:
    module_pattern, _, attribute = pattern.rpartition(".")
    for name, module in model.named_modules():
        if _fits(name, module_pattern):
            place = f"{name}.{attribute}"
            count = getattr(module, attribute, None)
            if not isinstance(count, int):
                raise CannotApply(f"parallel=tp: the plan names {place}, which the model does not have")
            setattr(module, attribute, _divided(place, count, ranks))


def _divided(place: str, count: int, ranks: int) -> int:
    if count % ranks:
        raise CannotApply(f"parallel=tp: {place} = {count} cannot be divided by devices={ranks}")
    return count // ranks


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor with the parts of all ranks; every rank must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
