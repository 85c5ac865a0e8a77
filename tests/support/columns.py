"""What columns that are read at once must hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def assert_hold_rows(columns: Mapping[str, Iterable[Any]], rows: Sequence[Any]) -> None:
    """Hold each column against the attributes of the rows; what a row does not know is None or NaN."""
    for name, values in columns.items():
        for value, row in zip(values, rows, strict=True):
            expected = getattr(row, name)
            if isinstance(expected, np.ndarray):
                np.testing.assert_array_equal(value, expected)
            elif expected is None:
                assert value is None or np.isnan(value)
            else:
                assert value == expected
