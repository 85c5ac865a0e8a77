"""Models on disk: what builds them and their weights, without pickle."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bench.errors import StageError
from bench.workloads.workload import Workload

WEIGHTS = "weights.safetensors"
MODEL = "model.json"
OUTPUTS = "outputs.safetensors"


def save_model(folder: Path, workload_text: str, model: torch.nn.Module) -> None:
    """Write the model's weights, and the workload whose factory builds its structure."""
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
    (folder / MODEL).write_text(json.dumps({"workload": workload_text}))


def load_model(folder: Path, workload: Workload) -> torch.nn.Module:
    """Build the model anew and fill in its weights; it comes in evaluation mode, on the CPU."""
    model = workload.model()
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise StageError(f"{folder.name[:12]}: weights do not fit the model: {error}") from None
    return model.eval()


def save_outputs(folder: Path, outputs: torch.Tensor) -> None:
    """Write the eager fp32 outputs on the test set, (samples, ...), that lowered models are held against."""
    save_file({"outputs": outputs.contiguous()}, folder / OUTPUTS)


def load_outputs(folder: Path) -> torch.Tensor:
    """Return the eager fp32 outputs of a model on its test set."""
    return load_file(folder / OUTPUTS)["outputs"]
