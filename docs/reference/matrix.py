"""The page of the matrix file, from its pydantic models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bench.analysis.statistics import LOOKS
from bench.matrix import file
from docs.reference.markdown import assemble, code, codes, docstring, table
from docs.reference.types import type_name

INTRODUCTION = """A matrix file is TOML. An unknown key, a value of the wrong type or out of its bounds is
refused in one line, before anything runs. The [guide to matrices](../guides/matrix.md) explains the
sections by an example."""

BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥"}


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield each section's name as a matrix file has it, and its model."""
    for name, info in file.MatrixFile.model_fields.items():
        for model in _models(info.annotation):
            yield name, model


def page() -> str:
    """Return the page."""
    top = [name for name in file.MatrixFile.model_fields if name not in dict(sections())]
    parts = ["## At the top\n\n" + _table(file.MatrixFile, top)]
    for name, model in sections():
        repeated = name == "peaks"
        title = f"[{name}.DEVICE]" if repeated else f"[{name}]"
        note = f"DEVICE is one of {codes(get_args(file.Device))}.\n\n" if repeated else ""
        parts.append(f"## {title}\n\n{docstring(model)}\n\n{note}{_table(model, list(model.model_fields))}")
    return assemble("The matrix file", INTRODUCTION, *parts)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _table(model: type[BaseModel], names: list[str]) -> str:
    rows = [_row(name, model.model_fields[name]) for name in names]
    return table(("key", "type", "default", "bounds"), rows)


def _row(name: str, info: FieldInfo) -> tuple[str, str, str, str]:
    default = "required" if info.is_required() else _default(info.default)
    bounds = [_bound(entry) for entry in info.metadata]
    return code(name), type_name(info.annotation), default, ", ".join(filter(None, bounds))


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(f'"{value}"' if isinstance(value, str) else value) if value not in ("", [], {}) else "empty"


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) and value < 1e12 else f"{value:g}"


def _bound(entry: Any) -> str:
    if hasattr(entry, "func"):  # the one check that is a function of ours
        return f"1, {', '.join(map(str, LOOKS))} or more"
    return next(
        (f"{sign} {_number(getattr(entry, key))}" for key, sign in BOUNDS.items() if hasattr(entry, key)), ""
    )
