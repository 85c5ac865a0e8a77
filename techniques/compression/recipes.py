"""Recipes: steps that change the model, joined by `+`, and whether they go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from techniques.compression.row import CompressionRow
from techniques.registry import Technique, TechniqueError
from techniques.settings import split

Step = Technique[CompressionRow]


@dataclass(frozen=True)
class Recipe:
    """A compression as it is applied: steps that change the model, then at most one format."""

    steps: tuple[Step, ...]
    format: Step | None

    @property
    def text(self) -> str:
        """The canonical spelling: techniques joined by `+`, `none` without any."""
        parts = [step.text for step in self.steps] + ([self.format.text] if self.format else [])
        return "+".join(parts) or "none"

    @property
    def techniques(self) -> tuple[Step, ...]:
        """Return the steps in their order, then the format."""
        return self.steps + ((self.format,) if self.format else ())


def read_recipe(text: str, parse: Callable[[str], Step]) -> Recipe:
    """Read `step+step+format`, each by `parse`; an empty recipe from `none`.

    Raises TechniqueError where a format is not the last step, where `none` stands with others, where a step
    would undo what an earlier one did, and where none before leaves what one requires.
    """
    techniques = [parse(part) for part in split(text, "+")]
    changing = [technique for technique in techniques if technique.row.kind != "identity"]
    if len(techniques) > 1 and len(changing) < len(techniques):
        raise TechniqueError(f"compression {text!r}: 'none' cannot be combined with other steps")
    for technique in changing[:-1]:
        if technique.row.kind == "format":
            raise TechniqueError(
                f"compression {text!r}: {technique.name} is a format; write it once, as the last step"
            )
    last = changing[-1] if changing and changing[-1].row.kind == "format" else None
    recipe = Recipe(tuple(changing[:-1] if last else changing), last)
    if problem := clash(recipe.techniques):
        raise TechniqueError(f"compression {text!r}: {problem}")
    return recipe


def clash(steps: Sequence[Step]) -> str | None:
    """Say which step would lose what another did before it, or lacks what it requires, and why; else None."""
    kept: dict[str, Step] = {}
    for place, step in enumerate(steps):
        row = step.row
        if row.requires and row.requires not in kept:
            return f"{step.name} requires {row.requires} weights, which no step before it leaves"
        if row.fresh and not row.taught and place:
            lost = steps[place - 1].name
            return f"{step.name} trains a new model on the labels alone, so {lost} before it would be lost"
        if row.fresh:
            kept = {}
        for name, before in kept.items():
            if name in row.undoes:
                return f"{step.name} after {before.name} {row.undoes[name]}"
        if row.leaves:
            kept[row.leaves] = step
    return None
