"""The least bytes that a call must move to or from memory: an estimate for the roofline, no measurement.

Each weight, input and output counts once; an embedding's whole table does. Intermediate results count
nothing: a cache may hold them. Where all of it fits a cache, even this need not move again in the next call.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from bench.instruments.tensors import optimizer_state_bytes, storage_bytes

# 2:4 sparse weights of 16 bits: half of them, and 2 bits to say where each of these was.
_SPARSE = 0.5 * (2 + 2 / 8)
_WIDTHS = {
    **{"sparse": _SPARSE, "int4": 0.5, "int8": 1, "fp8": 1},
    **{"bf16": 2, "fp16": 2, "tf32": 4, "fp32": 4, "fp64": 8},
}


def call_bytes(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    outputs: Iterable[torch.Tensor],
    format_: str | None,
    precision: str,
) -> int:
    """Return the least bytes of a forward pass, at a number format or None for none.

    Weights with two dimensions or more are held in the format's numbers (`int4` of `int4-weight`); biases and
    norms, inputs and outputs in the precision. Raises KeyError for a precision or format of unknown width.
    """
    plain = _WIDTHS[precision]
    width = _WIDTHS[format_.partition("-")[0]] if format_ else plain
    weights = sum(
        tensor.numel() * (width if tensor.dim() > 1 else plain)
        for tensor in _once([*model.parameters(), *model.buffers()])
    )
    of_inputs = plain if inputs.is_floating_point() else inputs.element_size()
    numbers = sum(tensor.numel() for tensor in outputs)
    return round(weights + of_inputs * inputs.numel() + plain * numbers)


def decode_bytes(model: torch.nn.Module, format_: str | None, precision: str) -> int:
    """Return the bytes of the weights that each new token of a decoder takes, at a format or None.

    A table that is only looked up counts nothing (`looked_up`). Raises KeyError as `call_bytes` does.
    """
    tables = {id(table) for table in looked_up(model)}
    plain = _WIDTHS[precision]
    width = _WIDTHS[format_.partition("-")[0]] if format_ else plain
    read = (weight for weight in _once(model.parameters()) if id(weight) not in tables)
    return round(sum(weight.numel() * (width if weight.dim() > 1 else plain) for weight in read))


def looked_up(model: torch.nn.Module) -> list[torch.Tensor]:
    """Return the tables of which a token reads one row: weights of embeddings and of no other layer.

    A table that is tied to the head is multiplied as a whole, and is not among them.
    """
    tables = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    multiplied = {
        id(weight)
        for layer in model.modules()
        if not isinstance(layer, tables)
        for weight in layer.parameters(recurse=False)
    }
    found = (layer.weight for layer in model.modules() if isinstance(layer, tables))
    return [weight for weight in _once(found) if id(weight) not in multiplied]


def step_bytes(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    averaged: Iterable[torch.Tensor] = (),
) -> int:
    """Return the least bytes of a training step: weights, gradients and state, each read and written.

    State is the optimizer's, and an average of weights.
    """
    trained = [parameter for parameter in _once(model.parameters()) if parameter.requires_grad]
    weights = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    state = optimizer_state_bytes(optimizer) + storage_bytes(averaged)
    return 2 * (2 * weights + state) + inputs.numel() * inputs.element_size()


def _once(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Leave out tensors that are there a second time, as shared weights are."""
    return list({id(tensor): tensor for tensor in tensors}.values())
