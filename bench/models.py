"""Models on disk: their structure and their weights, without pickle; and the outputs they gave."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bench.errors import StageError
from bench.structures import Structure, read_structure
from techniques.weights import UnknownState, load_state, save_state

WEIGHTS = "weights.safetensors"
OUTPUTS = "outputs.safetensors"


def save_model(folder: Path, structure: Structure, model: torch.nn.Module) -> None:
    """Write the model's weights, and the structure that they fit."""
    try:
        save_state(model.state_dict(), folder / WEIGHTS)
    except UnknownState as error:
        raise StageError(f"the model's extra state {error}") from None
    structure.save(folder)


def load_model(folder: Path, workload: str | None = None) -> torch.nn.Module:
    """Build the model anew and fill in its weights; it comes in evaluation mode, on the CPU.

    Raises StageError where its weights do not fit it, or its structure is that of another workload.
    """
    model = read_structure(folder, workload).build()
    try:
        model.load_state_dict(load_state(folder / WEIGHTS))
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise StageError(f"{folder.name[:12]}: weights do not fit the model: {error}") from None
    return model.eval()


def save_outputs(folder: Path, outputs: torch.Tensor) -> None:
    """Write a model's eager fp32 outputs, (samples, ...), that others are held against or taught by."""
    save_file({"outputs": outputs.contiguous()}, folder / OUTPUTS)


def load_outputs(folder: Path) -> torch.Tensor:
    """Return the outputs that were saved in an artifact's folder."""
    try:
        return load_file(folder / OUTPUTS)["outputs"]
    except (OSError, KeyError, SafetensorError) as error:
        raise StageError(f"{folder.name[:12]}: its {OUTPUTS} is damaged: {error}") from None
