"""A row of the table of compressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from techniques.registry import Row
from techniques.settings import Setting, spell


@dataclass(frozen=True)
class Tolerance:
    """How far outputs may differ from the uncompressed eager ones before the cell is INVALID."""

    relative_error: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None


@dataclass(frozen=True)
class CompressionRow(Row):
    """`kind`: identity (changes nothing), step (changes the model) or format (changes its numbers' storage).

    `structure` spells the layer shapes that a step leaves, from its settings, as `student:{width}`: models of
    one spelling are planned to share a timing, and do where they are observed to have one structure. It is
    empty where a step changes no shape. `taught` steps learn from the outputs of the model they are given.
    `budget` says which of the workload's budgets of steps a step trains by: that of a recovery, that of a
    student, or none. `tolerance` bounds a format's distance from the model it was lowered from.

    `control` spells the step that differs in the idea only, from the settings, as `prune-random:{sparsity}`;
    it is empty for a step that is a control itself or trains nothing. `speed` says what speed to expect, and
    why. `leaves` names a property that a step gives the weights, and `undoes` those properties that it would
    take from earlier steps, each with the reason: such a recipe is refused. A `fresh` step starts from new
    weights. What `requires` a property is refused where no earlier step leaves it.
    """

    kind: Literal["identity", "step", "format"] = "step"
    structure: str = ""
    taught: bool = False
    budget: Literal["recover", "student", "none"] = "recover"
    tolerance: Tolerance = Tolerance()
    control: str = "finetune"
    speed: str = ""
    leaves: str = ""
    undoes: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    requires: str = ""

    def check_traits(self) -> None:
        """Raise ValueError as `Row` does, and where `structure` or `control` name an unknown setting."""
        super().check_traits()
        for trait in ("structure", "control"):
            try:
                _spelled(getattr(self, trait), self.defaults)
            except KeyError as error:
                text = getattr(self, trait)
                raise ValueError(f"{trait} {text!r} names an unknown setting: {error}") from None

    def structure_of(self, settings: Mapping[str, Setting]) -> str:
        """Return how the layer shapes are spelled that this step leaves at these settings."""
        return _spelled(self.structure, settings).rstrip()

    def control_of(self, settings: Mapping[str, Setting]) -> str:
        """Return the step that is this step's control at these settings, empty for a control or no step."""
        return _spelled(self.control, settings) if self.kind == "step" else ""


def _spelled(text: str, settings: Mapping[str, Setting]) -> str:
    return text.format(**{key: spell(value) for key, value in settings.items()})
