"""The keys that a matrix file may contain, as rows for people, read off its pydantic models."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bench.analysis.statistics import LOOKS
from bench.matrix.axes import Axis
from bench.matrix.file import MatrixFile, TuningAxis

_NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path"}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥"}


@dataclass(frozen=True)
class Key:
    """A key of a section: how its value is written, its default, its bounds; all as text."""

    section: str
    name: str
    type: str
    default: str
    bounds: str


def keys() -> Iterator[Key]:
    """Yield every key of a matrix file; those at its top have an empty section."""
    of_sections = dict(sections())
    yield from (
        _key("", name, info) for name, info in MatrixFile.model_fields.items() if name not in of_sections
    )
    for section, model in of_sections.items():
        yield from (_key(section, name, info) for name, info in model.model_fields.items())


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield each section's name as a matrix file has it, and its model; tables inside of sections too."""
    seen: set[type[BaseModel]] = set()
    fields = [("", name, info) for name, info in MatrixFile.model_fields.items()]
    for within, key, info in fields:
        for model in _models(info.annotation):
            if model not in seen:
                seen.add(model)
                yield within + key, model
                fields += [(f"{within}{key}.", name, part) for name, part in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _key(section: str, name: str, info: FieldInfo) -> Key:
    default = "required" if info.is_required() else _default(info.get_default(call_default_factory=True))
    bounds = ", ".join(filter(None, map(_bound, info.metadata)))
    return Key(section, name, type_name(info.annotation), default, bounds)


def type_name(annotation: Any) -> str:
    """Return the name of a type for people; an optional type is named without None."""
    if annotation == Axis:
        return "text, integer, or a list of these"
    if annotation == TuningAxis:
        return "text, table, as [train.tuning], or a list of these"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return next((f"table, as [{name}]" for name, model in sections() if model is annotation), "table")
    if origin is Literal:
        return " or ".join(f'"{word}"' for word in arguments)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in (types.UnionType, typing.Union):
        return " or ".join(type_name(part) for part in arguments if part is not type(None))
    if origin is list:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"table of {type_name(arguments[1])}"
    return _NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if value in ("", [], {}):
        return "empty"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _bound(entry: Any) -> str:
    if hasattr(entry, "func"):  # the one check that is a function of ours
        return f"1, {', '.join(map(str, LOOKS))} or more"
    return next(
        (f"{sign} {_number(getattr(entry, key))}" for key, sign in _BOUNDS.items() if hasattr(entry, key)), ""
    )


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) and value < 1e12 else f"{value:g}"
