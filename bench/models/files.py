"""Models on disk: their structure and their weights, without pickle; and the outputs they gave."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from bench.errors import StageError
from bench.models.predictions import Predictions
from bench.models.structures import Structure, read_structure
from bench.workloads.output_kinds import parse_kind
from techniques.weights import UnknownState, load_state, save_state

WEIGHTS = "weights.safetensors"
OUTPUTS = "outputs.safetensors"
_META = "outputs"


def save_model(folder: Path, structure: Structure, model: torch.nn.Module) -> None:
    """Write the model's weights, and the structure that they fit.

    Raises StageError where its state is neither tensors nor JSON: nothing is pickled.
    """
    try:
        save_state(model.state_dict(), folder / WEIGHTS)
    except UnknownState as error:
        raise StageError(f"the model's extra state {error}") from None
    structure.save(folder)


def load_model(folder: Path, workload: str | None = None) -> torch.nn.Module:
    """Rebuild the model and fill in its weights; it is returned in evaluation mode, on the CPU.

    Raises StageError where its weights do not fit it, or its structure is that of another workload.
    """
    model = read_structure(folder, workload).build()
    try:
        model.load_state_dict(load_state(folder / WEIGHTS))
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise StageError(f"{folder.name[:12]}: weights do not fit the model: {error}") from None
    return model.eval()


def save_outputs(folder: Path, outputs: Predictions) -> None:
    """Write a model's eager outputs, (samples, ...), that others are held against or taught by."""
    tensors = {f"{number}": tensor.contiguous() for number, tensor in enumerate(outputs.tensors.values())}
    meta = {
        "kept": list(outputs.tensors),
        "names": outputs.names,
        "left_out": outputs.left_out,
        "kind": None if outputs.kind is None else [outputs.kind.text, outputs.kind.basis],
    }
    save_file(tensors, folder / OUTPUTS, {_META: json.dumps(meta)})


def load_outputs(folder: Path) -> Predictions:
    """Return the outputs saved in an artifact's folder; raises StageError where they are damaged."""
    try:
        with safe_open(folder / OUTPUTS, "pt") as file:
            meta = json.loads(file.metadata()[_META])
        tensors = load_file(folder / OUTPUTS)
        kind = meta["kind"] and replace(parse_kind(meta["kind"][0]), basis=str(meta["kind"][1]))
        return Predictions(
            {name: tensors[f"{number}"] for number, name in enumerate(meta["kept"])},
            tuple(meta["names"]),
            tuple(meta["left_out"]),
            kind,
        )
    except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise StageError(f"{folder.name[:12]}: its {OUTPUTS} is damaged: {error}") from None
