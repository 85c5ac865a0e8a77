"""What a model gave for many samples: its outputs by name, and what the first of them are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bench.errors import StageError
from bench.workloads.output_kinds import OutputKind
from techniques.outputs import parts, widened

_MAIN = "logits"
"""The name of the output that is judged, of several; where none has it, the first is."""


class NamedOutputs(dict[str, torch.Tensor]):
    """Outputs by name, as keys and as attributes: what a quality function gets where a model has several."""

    def __getattr__(self, name: str) -> torch.Tensor:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Predictions:
    """Outputs (samples, ...) by name, in the model's order; a tensor alone has the name ''.

    `names` are those of all its tensors, of which some have no row for each sample; `left_out` are those and
    what is no tensor. `kind` says what the main output is.
    """

    tensors: Mapping[str, torch.Tensor]
    names: tuple[str, ...] = ("",)
    left_out: tuple[str, ...] = ()
    kind: OutputKind | None = None

    @property
    def main_name(self) -> str:
        """Return the name of the output that is judged by its answers."""
        return _MAIN if _MAIN in self.tensors else next(iter(self.tensors))

    @property
    def main(self) -> torch.Tensor:
        """Return the output that is judged by its answers, (samples, ...)."""
        return self.tensors[self.main_name]

    @property
    def further(self) -> dict[str, torch.Tensor]:
        """Return all outputs but the main one."""
        return {name: tensor for name, tensor in self.tensors.items() if name != self.main_name}

    @property
    def as_returned(self) -> Any:
        """Return one tensor, a tuple, or outputs by name: as the model returned them."""
        if list(self.tensors) == [""]:
            return self.main
        if all(name.isdigit() for name in self.names):
            return tuple(self.tensors.values())
        return NamedOutputs(self.tensors)

    def first(self, samples: int) -> Predictions:
        """Return the outputs of the first samples alone."""
        return self.rows(slice(samples))

    def rows(self, chosen: slice | torch.Tensor) -> Predictions:
        """Return the outputs of some samples, by their numbers (n,), alone."""
        return replace(self, tensors={name: tensor[chosen] for name, tensor in self.tensors.items()})


def gathered(batches: Iterable[tuple[Any, int]]) -> Predictions:
    """Return what a model returned for batches of so many samples, one after another, on the CPU.

    Numbers of fewer than 32 bits become fp32. Raises StageError where no tensor has a row for each sample, or
    where batches give outputs of other names.
    """
    tensors: dict[str, list[torch.Tensor]] = {}
    left_out: tuple[str, ...] = ()
    shapes: dict[str, tuple[int, ...]] = {}
    kept: set[str] = set()
    for number, (outputs, samples) in enumerate(batches):
        own, others = parts(outputs)
        if number == 0:
            left_out, kept, tensors = others, set(own), {name: [] for name in own}
        elif tensors.keys() != own.keys():
            raise StageError(
                f"the model returns {_listed(own)} for one batch and {_listed(tensors)} for another"
            )
        for name, tensor in own.items():
            shapes[name] = tuple(tensor.shape)
            if tensor.dim() == 0 or len(tensor) != samples:
                kept.discard(name)
            tensors[name].append(widened(tensor.detach()).cpu().clone())
        if not kept:
            raise StageError(_no_rows(outputs, shapes, samples))
    names = tuple(tensors)
    dropped = tuple(name for name in names if name not in kept)
    whole = {name: torch.cat(tensors[name]) for name in names if name in kept}
    return Predictions(whole, names, dropped + left_out)


def named_like(model: Predictions, outputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a runtime's outputs by the names of the model's; raises StageError where there are others."""
    if len(outputs) != len(model.names):
        raise StageError(f"the runtime gives {len(outputs)} outputs, the model {len(model.names)}")
    return dict(zip(model.names, outputs, strict=True))


def _listed(tensors: Iterable[str]) -> str:
    return ", ".join(name or "one tensor" for name in tensors)[:200]


def _no_rows(outputs: Any, shapes: Mapping[str, tuple[int, ...]], samples: int) -> str:
    if not shapes:
        return f"the model returns a {type(outputs).__name__} without a tensor in it"
    shown = ", ".join(f"{name} {shape}".strip() for name, shape in shapes.items())[:200]
    return f"the model returns no row for each of the {samples} samples of a batch: {shown}"
