"""Muon for the hidden matrices of a model, AdamW for all its other parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from techniques.optimizers.torch_optim import LABEL, LOOP, flags
from techniques.registry import CannotApply

_EMBEDDINGS = (torch.nn.Embedding, torch.nn.EmbeddingBag)


class MuonWithAdamW(torch.optim.Optimizer):
    """PyTorch's Muon and AdamW as one optimizer, with a group of parameters and a learning rate for each.

    Kernels of convolutions are matrices (channels out, the rest), in the order that they have in memory: to
    orthogonalize a matrix is the same for any order of its columns. As published: Jordan et al. 2024, "Muon:
    An optimizer for hidden layers in neural networks", whose code has these defaults.
    """

    variant = LOOP

    def __init__(
        self,
        matrices: list[torch.nn.Parameter],
        others: list[torch.nn.Parameter],
        muon: dict[str, Any],
        adamw: dict[str, Any],
    ) -> None:
        groups = [{"params": matrices, LABEL: "muon", **muon}, {"params": others, LABEL: "adamw", **adamw}]
        super().__init__([group for group in groups if group["params"]], {})
        self._matrices = [(parameter, _as_matrix(parameter)) for parameter in matrices]
        own: list[torch.optim.Optimizer] = [torch.optim.Muon([view for _, view in self._matrices], **muon)]
        if others:
            settings: dict[str, Any] = {**adamw, **flags(others, LOOP)}
            own.append(torch.optim.AdamW(others, **settings))
        self._parts = own

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step of both."""
        assert closure is None
        for parameter, view in self._matrices:
            gradient = parameter.grad
            view.grad = None if gradient is None else _ordered(gradient, parameter).reshape(view.shape)
        for group, part in zip(self.param_groups, self._parts, strict=True):
            settings = {key: value for key, value in group.items() if key not in ("params", LABEL)}
            part.param_groups[0].update(settings)  # what a schedule has changed
            part.step()
        for _, view in self._matrices:
            view.grad = None


def build(
    model: torch.nn.Module,
    lr: float,
    momentum: float,
    weight_decay: float,
    adamw_lr: float,
    adamw_weight_decay: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> torch.optim.Optimizer:
    """Return Muon for the hidden matrices of `model`; raises CannotApply where it has none."""
    hidden = {id(parameter) for parameter in hidden_matrices(model)}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if id(parameter) in hidden]
    if not matrices:
        raise CannotApply("muon: the model has no matrix but for embeddings and its output layer")
    others = [parameter for parameter in trainable if id(parameter) not in hidden]
    muon = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": True}
    adamw = {"lr": adamw_lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": adamw_weight_decay}
    return MuonWithAdamW(matrices, others, muon, adamw)


def hidden_matrices(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """Yield the parameters with a side of over 1 both ways that are neither embeddings nor the output layer.

    The output layer is the last module that has such a parameter of its own, in the model's order.
    """
    embedded = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _EMBEDDINGS)
        for parameter in module.parameters()
    }
    layers = [
        [parameter for parameter in module.parameters(recurse=False) if _is_matrix(parameter)]
        for module in model.modules()
        if not isinstance(module, _EMBEDDINGS)
    ]
    *hidden, _ = [layer for layer in layers if layer] or [[]]
    for layer in hidden:
        yield from (parameter for parameter in layer if id(parameter) not in embedded)


def _is_matrix(parameter: torch.Tensor) -> bool:
    if parameter.dim() < 2 or not parameter.is_floating_point():
        return False
    return 1 < parameter.shape[0] < parameter.numel()


def _as_matrix(parameter: torch.Tensor) -> torch.Tensor:
    """Return a parameter as a matrix (first dimension, all others) in the same memory."""
    try:
        return _ordered(parameter, parameter).view(len(parameter), -1)
    except RuntimeError as error:
        raise CannotApply(
            f"muon: a parameter of shape {tuple(parameter.shape)} is no matrix: {error}"
        ) from None


def _ordered(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    inner = sorted(range(1, like.dim()), key=like.stride, reverse=True)
    return tensor.detach().permute(0, *inner)
