"""Calibration of static formats: batches of exactly the size that a model is lowered for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from techniques.registry import CannotApply


def calibration_parts(calibration: Iterable[torch.Tensor], batch_size: int) -> Iterator[torch.Tensor]:
    """Yield the samples in batches of this size, without what is left over.

    Raises CannotApply where there are fewer samples than that.
    """
    samples = torch.cat(list(calibration))
    if len(samples) < batch_size:
        raise CannotApply(
            f"int8-static requires a calibration batch of {batch_size} samples, got {len(samples)}"
        )
    return (part for part in samples.split(batch_size) if len(part) == batch_size)


def quantize_pt2e(
    model: torch.nn.Module, example: torch.Tensor, quantizer: Any, parts: Iterable[torch.Tensor]
) -> torch.nn.Module:
    """Quantize by PyTorch 2 export, with a runtime's own quantizer and scales from these batches."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    program: Any = torch.export.export(model, (example,)).module()
    # A layer whose output nobody takes, as a pooler's, has no end that a quantizer looks for.
    program.graph.eliminate_dead_code()
    program.recompile()
    prepared = prepare_pt2e(program, quantizer)
    for part in parts:
        prepared(part)
    converted: torch.nn.Module = convert_pt2e(prepared)
    return converted
