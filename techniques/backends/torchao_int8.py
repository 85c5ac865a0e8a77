"""Int8 by torchao, and its weights on disk without pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def quantize_dynamic(model: torch.nn.Module) -> torch.nn.Module:
    """Give every linear layer int8 weights, per channel, and activations scaled per token as they come."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return model


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write a model's state, each tensor subclass as the plain tensors inside it."""
    save_file({name: tensor.contiguous().clone() for name, tensor in plain_tensors(model).items()}, path)


def fill_weights(model: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Fill a model of the same structure, quantized the same way, with what `save_weights` wrote."""
    stored = load_file(path)
    with torch.no_grad():
        for name, tensor in plain_tensors(model).items():
            tensor.copy_(stored[name])
    return model


def plain_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that hold a model's state, by name, subclasses taken apart down to plain ones."""
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        _take_apart(name, tensor, plain)
    return plain


def _take_apart(name: str, tensor: torch.Tensor, plain: dict[str, torch.Tensor]) -> None:
    if not hasattr(tensor, "__tensor_flatten__"):
        plain[name] = tensor
        return
    inner_names, _ = tensor.__tensor_flatten__()
    for inner in inner_names:
        _take_apart(f"{name}/{inner}", getattr(tensor, inner), plain)
