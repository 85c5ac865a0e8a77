"""The table of compressions: steps that change the model, and formats that change how its numbers are stored.

A recipe chains steps with `+`, left to right; at most one format, always last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from techniques.registry import Registry, Row, Technique, TechniqueError
from techniques.settings import Setting, spell, split


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
    `budget` says which of the workload's budgets of steps a step trains by: that of a recovery or that of a
    student. `tolerance` bounds a format's distance from the model it was lowered from.
    """

    kind: Literal["identity", "step", "format"] = "step"
    structure: str = ""
    taught: bool = False
    budget: Literal["recover", "student"] = "recover"
    tolerance: Tolerance = Tolerance()

    def check_traits(self) -> None:
        """Raise ValueError as `Row` does, and where `structure` names a setting that does not exist."""
        super().check_traits()
        try:
            self.structure_of(self.defaults)
        except KeyError as error:
            raise ValueError(f"structure {self.structure!r} names an unknown setting: {error}") from None

    def structure_of(self, settings: Mapping[str, Setting]) -> str:
        """Return how the layer shapes are spelled that this step leaves at these settings."""
        return self.structure.format(**{key: spell(value) for key, value in settings.items()})


COMPRESSIONS: Registry[CompressionRow] = Registry(
    "compression", CompressionRow, entry_points="bench.compressions"
)

_add = COMPRESSIONS.add

_add(
    "none",
    "techniques.compression.identity:apply",
    about="The trained model without compression",
    kind="identity",
)
_add(
    "finetune",
    "techniques.compression.identity:finetune",
    about="The control: trains on for as many steps as any recovery, without compression",
)
_add(
    "prune-mean",
    "techniques.compression.pruning:prune_mean",
    about="Per layer, zero weights below mean |weight| × ratio, then fine-tune",
    defaults={"ratio": 1.0},
    argument="ratio",
    ranges={"ratio": "[0, inf)"},
)
_add(
    "prune-magnitude",
    "techniques.compression.pruning:prune_magnitude",
    about="Per layer, zero this share of the smallest weights, then fine-tune (Han et al. 2015)",
    defaults={"sparsity": 0.5},
    argument="sparsity",
    ranges={"sparsity": "[0, 1)"},
)
_add(
    "prune-magnitude-as-mean",
    "techniques.compression.pruning:prune_magnitude_as_mean",
    about="prune-magnitude at the sparsity that prune-mean of this ratio reaches on the same model",
    defaults={"ratio": 1.0},
    argument="ratio",
    ranges={"ratio": "[0, inf)"},
)
_add(
    "prune-channels",
    "techniques.compression.channels:prune_channels",
    about="Remove this share of every layer's channels, leaving smaller dense layers, then fine-tune "
    "(Torch-Pruning, Fang et al. 2023)",
    defaults={"share": 0.5},
    argument="share",
    ranges={"share": "[0, 1)"},
    structure="prune-channels:{share}",
    needs=("torch_pruning",),
    install="pip install torch-pruning",
)
_add(
    "distill",
    "techniques.compression.distillation:distill",
    about="A student of this width, trained from scratch by the model (Hinton, Vinyals & Dean 2015)",
    defaults={"width": 0.5, "temperature": 4.0, "alpha": 0.9},
    argument="width",
    ranges={"width": "(0, 1]", "temperature": "(0, inf)", "alpha": "[0, 1]"},
    structure="student:{width}",
    taught=True,
    budget="student",
)
_add(
    "student",
    "techniques.compression.distillation:student",
    about="The control of distill: the same student, for as many steps, without a teacher",
    defaults={"width": 0.5},
    argument="width",
    ranges={"width": "(0, 1]"},
    structure="student:{width}",
    budget="student",
)
_add(
    "int8-dynamic",
    "techniques.compression.identity:apply",
    about="Format: int8 weights, activations quantized at run time",
    kind="format",
    tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
)
_add(
    "int8-static",
    "techniques.compression.identity:apply",
    about="Format: int8 weights and activations, scales from calibration batches",
    kind="format",
    tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
)
_add(
    "int8-weight",
    "techniques.compression.identity:apply",
    about="Format: int8 weights, unquantized activations",
    kind="format",
    tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
)
# MiniLM's sentence vectors have a cosine of 0.957 in it; their answers need not be wrong.
_add(
    "int4-weight",
    "techniques.compression.identity:apply",
    about="Format: int4 weights in groups that share a scale, unquantized activations",
    kind="format",
    tolerance=Tolerance(cosine=0.95, top1_agreement=0.95),
)
_add(
    "fp8",
    "techniques.compression.identity:apply",
    about="Format: fp8 weights and activations (Micikevicius et al. 2022), quantized at run time",
    kind="format",
    tolerance=Tolerance(cosine=0.98, top1_agreement=0.97),
)


@dataclass(frozen=True)
class Recipe:
    """A compression as it is applied: steps that change the model, then at most one format."""

    steps: tuple[Technique[CompressionRow], ...]
    format: Technique[CompressionRow] | None

    @property
    def text(self) -> str:
        """The canonical spelling: techniques joined by `+`, `none` without any."""
        parts = [step.text for step in self.steps] + ([self.format.text] if self.format else [])
        return "+".join(parts) or "none"

    @property
    def techniques(self) -> tuple[Technique[CompressionRow], ...]:
        """Return the steps in their order, then the format."""
        return self.steps + ((self.format,) if self.format else ())


def parse_recipe(text: str) -> Recipe:
    """Read `step+step+format`, an empty recipe from `none`.

    Raises TechniqueError for an unknown technique or setting, where a format is not the last step, and where
    `none` stands with others.
    """
    techniques = [COMPRESSIONS.parse(part) for part in split(text, "+")]
    changing = [technique for technique in techniques if technique.row.kind != "identity"]
    if len(techniques) > 1 and len(changing) < len(techniques):
        raise TechniqueError(f"compression {text!r}: 'none' cannot be combined with other steps")
    for technique in changing[:-1]:
        if technique.row.kind == "format":
            raise TechniqueError(
                f"compression {text!r}: {technique.name} is a format; write it once, as the last step"
            )
    last = changing[-1] if changing and changing[-1].row.kind == "format" else None
    return Recipe(tuple(changing[:-1] if last else changing), last)
