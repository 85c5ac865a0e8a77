"""A model's structure as data: what builds it, and the edits that a compression made, to be made again.

So an artifact holds weights and JSON, and no pickle: `Structure.build` makes the same layers anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field
from torch.nn.utils import parametrize

from bench.errors import StageError
from bench.files import read_json
from bench.workloads import WORKLOADS
from bench.workloads.loading import find_workload
from techniques.numbers import widened_weights
from techniques.parametrizations import is_parametrized, make_plain
from techniques.registry import CannotApply, nearest
from techniques.replacements import build, describe

MODEL = "model.json"
_MAX_SIZE = 2**31
_MAX_ELEMENTS = 2**33


@dataclass(frozen=True)
class Edit:
    """How one module differs from what the factory builds: its sizes (`out_channels`, ...) and the shapes of
    its own parameters and buffers."""

    module: str
    attributes: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Replacement:
    """What stands in the place of one module: layers as `techniques.replacements` describes them."""

    module: str
    layers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Structure:
    """A workload's model, or its student of `width` times the channels or `depth` times the layers, and what
    was changed in it: modules first, then sizes.

    With `into`, the model of the workload of that name in its place. `plain` says that weights which the
    factory makes computed ones (weight norm) are plain here.
    """

    workload: str
    width: float | None = None
    edits: tuple[Edit, ...] = field(default=())
    plain: bool = False
    replacements: tuple[Replacement, ...] = field(default=())
    depth: float | None = None
    into: str = ""

    def build(self) -> torch.nn.Module:
        """Build the model with fresh weights, none of them of 16 bits, in training mode, on the CPU.

        Raises StageError where an edit does not fit the model, CannotApply where it has no student.
        """
        model = _replaced(self._unedited(), self.replacements)
        modules = dict(model.named_modules())
        for edit in self.edits:
            if edit.module not in modules:
                raise StageError(f"{MODEL}: {self.workload} has no module {edit.module!r}")
            _apply(modules[edit.module], edit)
        return model

    def edited(self, model: torch.nn.Module) -> Structure:
        """Return the structure of `model`, which came from this structure's factory and was changed since.

        Raises StageError where modules were added, removed or replaced by others: no edit describes that.
        """
        unedited, plain = self._unedited(), self.plain
        if is_parametrized(unedited) and not is_parametrized(model):
            unedited, plain = make_plain(unedited), True
        replacements = tuple(_replacements(model))
        known = dict(unedited.named_modules())
        if all(entry.module in known for entry in replacements):
            unedited = _replaced(unedited, replacements)
        built = dict(unedited.named_modules())
        changed = dict(model.named_modules())
        if _types(built) != _types(changed):
            raise StageError("the compression replaced modules of the model, which no artifact can describe")
        edits = (_difference(name, built[name], module) for name, module in changed.items())
        return replace(
            self, edits=tuple(edit for edit in edits if edit), plain=plain, replacements=replacements
        )

    def save(self, folder: Path) -> None:
        """Write the structure into an artifact's folder."""
        content = {
            "workload": self.workload,
            "width": self.width,
            "edits": [vars(edit) for edit in self.edits],
            "plain": self.plain,
            "replacements": [vars(entry) for entry in self.replacements],
            "depth": self.depth,
            "into": self.into,
        }
        (folder / MODEL).write_text(json.dumps(content))

    def _unedited(self) -> torch.nn.Module:
        model = widened_weights(self._made())
        return make_plain(model) if self.plain else model

    def _made(self) -> torch.nn.Module:
        if self.into:
            return find_workload(_by_name(self.into)).model()
        workload = find_workload(self.workload)
        if self.depth is not None:
            if workload.shallow_student is None:
                raise CannotApply(f"{self.workload} has no student of another depth")
            return workload.shallow_student(self.depth)
        if self.width is None:
            return workload.model()
        if workload.student is None:
            raise CannotApply(f"{self.workload} has no student: its model has only one width")
        return workload.student(self.width)


def read_structure(folder: Path, workload: str | None = None) -> Structure:
    """Return the structure of the model in an artifact's folder, whose workload should be this one.

    Raises StageError where it is another: a workload may name code, and it is not for a file in a results
    folder to say which.
    """
    where = f"{folder.name[:12]}: its {MODEL}"
    try:
        content = _StructureFile.model_validate(read_json(folder / MODEL))
    except (OSError, ValueError) as error:
        raise StageError(f"{where} is damaged: {str(error).splitlines()[0][:200]}") from None
    if workload is not None and content.workload != workload:
        raise StageError(f"{where} names the workload {content.workload[:100]!r}, not {workload!r}")
    edits = (Edit(entry.module, entry.attributes, entry.shapes) for entry in content.edits)
    replacements = (Replacement(entry.module, entry.layers) for entry in content.replacements)
    return Structure(
        *(content.workload, content.width, tuple(edits), content.plain, tuple(replacements)),
        *(content.depth, content.into),
    )


def _by_name(workload: str) -> str:
    """Return the name of a workload of the table that can be trained; raises CannotApply for all else.

    Its text may stand in a file of a results folder: it must not name code, as `my.py:make` would.
    """
    row = WORKLOADS.rows().get(workload)
    if row is None or not row.complete or row.inference_only:
        known = [name for name, each in WORKLOADS.rows().items() if each.complete and not each.inference_only]
        raise CannotApply(
            f"into: no workload {workload[:100]!r} with a model of its own{nearest(workload, known)}"
        )
    return workload


class _EditFile(BaseModel):
    module: str
    attributes: dict[str, int | list[int]]
    shapes: dict[str, tuple[Annotated[int, Field(ge=0, le=_MAX_SIZE)], ...]]


class _ReplacementFile(BaseModel):
    module: str
    layers: Annotated[list[dict[str, str | bool | int | list[int]]], Field(max_length=8)]


class _StructureFile(BaseModel):
    """The content of a model.json, which may be another person's."""

    workload: str
    width: float | None
    edits: list[_EditFile]
    plain: bool = False
    replacements: list[_ReplacementFile] = []
    depth: float | None = None
    into: str = ""


def _replacements(model: torch.nn.Module) -> Iterator[Replacement]:
    for name, module in model.named_modules():
        layers = describe(module)
        if layers is not None:
            yield Replacement(name, layers)


def _replaced(model: torch.nn.Module, replacements: Iterable[Replacement]) -> torch.nn.Module:
    """Put replacements in the place of modules; raises StageError where one does not fit the model."""
    for entry in replacements:
        try:
            model.set_submodule(entry.module, build(entry.layers), strict=True)
        except (AttributeError, TypeError, ValueError) as error:
            raise StageError(f"{MODEL}: {entry.module}: {str(error)[:200]}") from None
    return model


def _types(modules: Mapping[str, torch.nn.Module]) -> dict[str, type]:
    # Each module with a parametrization has a class of its own.
    return {name: parametrize.type_before_parametrizations(module) for name, module in modules.items()}


def _apply(module: torch.nn.Module, edit: Edit) -> None:
    for name, value in edit.attributes.items():
        if not isinstance(getattr(module, name, None), int | float | tuple | list | None):
            raise StageError(f"{MODEL}: {edit.module}.{name} is not a size of a {type(module).__name__}")
        setattr(module, name, tuple(value) if isinstance(value, list) else value)
    for name, shape in edit.shapes.items():
        old = getattr(module, name, None)
        if not isinstance(old, torch.Tensor) or math.prod(shape) > _MAX_ELEMENTS:
            raise StageError(f"{MODEL}: {edit.module}.{name} is not a tensor that could have shape {shape}")
        new = torch.zeros(shape, dtype=old.dtype)
        if isinstance(old, torch.nn.Parameter):
            new = torch.nn.Parameter(new, requires_grad=old.requires_grad)
        setattr(module, name, new)


def _difference(name: str, built: torch.nn.Module, changed: torch.nn.Module) -> Edit | None:
    before, after = _sizes(built), _sizes(changed)
    attributes = {key: value for key, value in after.items() if before.get(key) != value}
    old, new = _shapes(built), _shapes(changed)
    shapes = {key: shape for key, shape in new.items() if old.get(key) != shape}
    return Edit(name, attributes, shapes) if attributes or shapes else None


def _sizes(module: torch.nn.Module) -> dict[str, Any]:
    """Return the attributes of a module that are integers or tuples of them: its sizes."""
    found: dict[str, Any] = {}
    for key, value in vars(module).items():
        if isinstance(value, int) and not isinstance(value, bool):
            found[key] = value
        elif isinstance(value, tuple) and value and all(isinstance(entry, int) for entry in value):
            found[key] = list(value)
    return found


def _shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {name: tuple(tensor.shape) for name, tensor in own}
