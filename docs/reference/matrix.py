"""The page of the matrix file, from its pydantic models."""

from __future__ import annotations

from typing import get_args

from bench.matrix.described import Key, keys, sections
from bench.matrix.file import Device
from docs.reference.markdown import assemble, code, codes, docstring, table

INTRODUCTION = """A matrix file is TOML. An unknown key, a value of the wrong type or out of its bounds is
refused in one line, before anything runs. The [guide to matrices](../guides/matrix.md) explains the
sections by an example."""


def page() -> str:
    """Return the page."""
    parts = ["## At the top\n\n" + _table("")]
    for name, model in sections():
        repeated = name == "peaks"
        title = {"peaks": "[peaks.DEVICE]", "cross": "[[cross]]", "limits": "[[limits]]"}.get(
            name, f"[{name}]"
        )
        note = f"DEVICE is one of {codes(get_args(Device))}.\n\n" if repeated else ""
        parts.append(f"## {title}\n\n{docstring(model)}\n\n{note}{_table(name)}")
    return assemble("The matrix file", INTRODUCTION, *parts)


def _table(section: str) -> str:
    rows = [_row(key) for key in keys() if key.section == section]
    return table(("key", "type", "default", "bounds"), rows)


def _row(key: Key) -> tuple[str, str, str, str]:
    default = key.default if key.default in ("required", "none", "empty") else code(key.default)
    return code(key.name), key.type, default, key.bounds
