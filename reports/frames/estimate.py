"""Predicted and actual cost."""

from __future__ import annotations

import pandas as pd

from reports.frames.view import RunView

_COLUMNS = (
    *("part", "stages", "predicted_s", "taken_s", "error", "median_stage_error"),
    *("predicted_bytes", "taken_bytes", "bytes_error"),
)


def estimate_table(view: RunView) -> pd.DataFrame:
    """Return one row for each kind of stage, one for the rest, and one for the whole run.

    Errors are shares of the actual cost, negative where too little was predicted; None until that is known.
    """
    rows = [
        {
            "part": row.part,
            "stages": row.stages,
            "predicted_s": row.predicted_s,
            "taken_s": row.taken_s,
            "error": relative_error(row.predicted_s, row.taken_s),
            "median_stage_error": row.median_error,
            "predicted_bytes": row.predicted_bytes,
            "taken_bytes": row.taken_bytes,
            "bytes_error": relative_error(row.predicted_bytes, row.taken_bytes),
        }
        for row in (view.comparison.rows if view.comparison else ())
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def relative_error(predicted: float, taken: float | None) -> float | None:
    """Return (predicted - taken) / taken, None where nothing was taken."""
    return (predicted - taken) / taken if taken else None
