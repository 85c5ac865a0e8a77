"""How a person would call a type."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from docs.reference.markdown import code

_NAMES = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", Path: "path"}


def type_name(annotation: Any) -> str:
    """Return the name of a type; of one that may be left out, the name of what else it is."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(code(f'"{word}"') for word in arguments)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in (types.UnionType, typing.Union):
        kinds = [part for part in arguments if part is not type(None)]
        whole = kinds[0] if len(kinds) == 1 else None
        if get_origin(whole) is list:  # of a repeatable option
            return type_name(get_args(whole)[0])
        return " or ".join(map(type_name, kinds))
    if origin is list and get_origin(arguments[0]) is dict:
        return "list of tables"
    if origin is list:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"table with a {type_name(arguments[1])} for each name"
    return _NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))
