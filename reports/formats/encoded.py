"""Columns as texts, each distinct value written once: most values of a long table repeat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from reports.frames.view import plain_list

Encode = Callable[[Any], str]


def encoded(column: pd.Series, encode: Encode, unknown: str) -> list[str]:
    """Return each value of a column as `encode` writes it, `unknown` for one that is missing."""
    if column.dtype == object:
        return _objects(plain_list(column), encode, unknown)
    if column.dtype.kind == "f":
        return _floats(column, encode, unknown)
    places, values = pd.factorize(column)
    # What is missing has the place -1, which is the last one.
    return _taken([*map(encode, values.tolist()), unknown], places)


def _floats(column: pd.Series, encode: Encode, unknown: str) -> list[str]:
    """Encode floats, told apart by their bits: 0.0 is not -0.0."""
    numbers = np.ascontiguousarray(column.to_numpy(dtype=float, na_value=np.nan))
    places, bits = pd.factorize(numbers.view(np.int64))
    values = bits.view(float).tolist()
    return _taken([unknown if value != value else encode(value) for value in values], places)


def _objects(values: list[Any], encode: Encode, unknown: str) -> list[str]:
    """Encode values of any types, of which only equal texts are the same for sure."""
    texts = {value: encode(value) for value in {value for value in values if type(value) is str}}
    return [
        unknown if value is None else texts[value] if type(value) is str else encode(value)
        for value in values
    ]


def _taken(texts: list[str], places: np.ndarray) -> list[str]:
    found: list[str] = np.array(texts, dtype=object).take(places, mode="wrap").tolist()
    return found
