"""The numbers of a model's weights: moved to a precision without loss, or refused."""

from __future__ import annotations

from collections.abc import Callable

import torch

from techniques.registry import CannotApply

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
_NAMES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
}


def tensors_of(model: torch.nn.Module) -> list[torch.Tensor]:
    """Return a model's floating-point and complex weights and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return [tensor for tensor in tensors if tensor.is_floating_point() or tensor.is_complex()]


def weight_types(model: torch.nn.Module) -> list[str]:
    """Return the types of a model's parameters, else of its buffers, as `fp32`, `bf16`, `complex64`."""
    found = {
        tensor.dtype for tensor in model.parameters() if tensor.is_floating_point() or tensor.is_complex()
    }
    found = found or {tensor.dtype for tensor in tensors_of(model)}
    return sorted(_NAMES.get(dtype, str(dtype).removeprefix("torch.")) for dtype in found)


def has_complex(model: torch.nn.Module) -> bool:
    """Say whether weights or buffers are complex."""
    return any(tensor.is_complex() for tensor in tensors_of(model))


def refuse_complex(model: torch.nn.Module, what: str) -> None:
    """Raise CannotApply where a model has complex weights, which `what` has no numbers for."""
    if has_complex(model):
        raise CannotApply(f"the model has complex weights, which {what} does not support")


def in_numbers(
    model: torch.nn.Module, dtype: torch.dtype, device: torch.device | None = None
) -> torch.nn.Module:
    """Move a model in place to a device, its floats to `dtype`, complex weights to the complex type of it.

    `Module.to` would drop their imaginary parts. Raises CannotApply where there is no such complex type.
    """
    if has_complex(model):
        if dtype not in _COMPLEX:
            raise CannotApply(f"the model has complex weights, which do not exist in {_NAMES[dtype]}")
        _retyped(model, lambda tensor: _COMPLEX[dtype] if tensor.is_complex() else dtype)
        return model if device is None else model.to(device)
    return model.to(dtype=dtype) if device is None else model.to(device, dtype)


def widened_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Give a model, in place, fp32 for floats of 16 bits: its outputs are then exact to what it stores."""
    if any(_is_half(tensor) for tensor in tensors_of(model)):
        _retyped(model, lambda tensor: torch.float32 if _is_half(tensor) else tensor.dtype)
    return model


def in_precision(batch: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a batch in that precision; integers, such as tokens, stay as they are."""
    if batch.is_complex():
        return batch.to(_COMPLEX.get(dtype, batch.dtype))
    return batch.to(dtype) if batch.is_floating_point() else batch


def as_taken(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Return a batch in fp32 where it has floats of 16 bits and the model's weights are all wider."""
    if not _is_half(batch):
        return batch
    weights = tensors_of(model)
    return batch.float() if weights and not any(_is_half(tensor) for tensor in weights) else batch


def _is_half(tensor: torch.Tensor) -> bool:
    return tensor.dtype in (torch.float16, torch.bfloat16)


def _retyped(model: torch.nn.Module, dtype_of: Callable[[torch.Tensor], torch.dtype]) -> None:
    def retype(tensor: torch.Tensor) -> torch.Tensor:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return tensor
        return tensor.to(dtype_of(tensor))

    model._apply(retype)
