"""A comparison as JSON, for programs: verdicts, both values, the ratio with its interval, the bound."""

from __future__ import annotations

import json
import math
from typing import Any

from bench.regression.finding import Comparison


def render(comparison: Comparison, *, strict: bool = False) -> bytes:
    """Return the JSON text; a number that is not finite is null."""
    document = finite(comparison.to_json(strict))
    return (json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def finite(value: Any) -> Any:
    """Return JSON content with null for each number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
