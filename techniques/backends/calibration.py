"""Calibration of static formats: batches of exactly the size that a model is lowered for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch

from techniques.compression.formats import AUTO, MIN_MAX, MSE
from techniques.layers import covers
from techniques.registry import CannotApply, TechniqueError

_LEAST_SCALE = 2**-12  # as in the quantizers' own configurations


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


def with_ranges(config: Any, calibration: str) -> Any:
    """Return a quantizer's configuration of PT2E with ranges of activations found this way.

    Its own observers keep a histogram and take the range of least squared error. Raises TechniqueError for
    ways that PT2E has no observer for.
    """
    if calibration in (AUTO, MSE):
        return config
    if calibration != MIN_MAX:
        raise TechniqueError(f"PT2E has no observer that calibrates by {calibration}")
    from torchao.quantization.pt2e import MinMaxObserver

    observer = MinMaxObserver.with_args(eps=_LEAST_SCALE)
    ranges = replace(config.input_activation, observer_or_fake_quant_ctr=observer)
    return replace(config, input_activation=ranges, output_activation=ranges)


def attends(graph: torch.fx.Graph) -> bool:
    """Say whether an exported graph has attention: an operator for it, or a softmax."""
    kinds = {str(node.target).split(".")[1] for node in graph.nodes if str(node.target).startswith("aten.")}
    return bool(kinds & {"scaled_dot_product_attention", "softmax", "_softmax"})


def is_elementwise(node: torch.fx.Node) -> bool:
    """Say whether a node adds, multiplies or joins numbers one by one."""
    return str(node.target).startswith(("aten.add", "aten.mul", "aten.cat"))


def is_kept(kept: Iterable[str]) -> Callable[[torch.fx.Node], bool]:
    """Return whether a node of an exported program belongs to a module that stays in full precision."""
    names = tuple(kept)

    def inside(node: torch.fx.Node) -> bool:
        paths = (path for path, _ in node.meta.get("nn_module_stack", {}).values())
        return any(covers(names, path.removeprefix("L['self'].")) for path in paths)

    return inside
