"""Failed stages, unreadable records, skipped cells, and the run's overhead outside its stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports.frames.inference import cell_states
from reports.frames.view import RunView

_COLUMNS = ("what", "kind", "state", "reason", "last_line", "launches", "cells", "stage_key")


def problems_table(view: RunView) -> pd.DataFrame:
    """Return one row for each stage without a good launch, for each record that cannot be read, then for each
    cell left out or INVALID.

    `cells` counts the cells that need the stage. Stages not launched yet are no problem.
    """
    rows = [*_stages_without_result(view), *_unreadable_records(view), *_cells_left_out(view)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _stages_without_result(view: RunView) -> Iterator[dict[str, Any]]:
    needed = _needed(view)
    for key, stage in view.stages.items():
        status = view.status(key)
        if status.bad:
            yield {
                "what": stage.label,
                "kind": stage.kind,
                "state": status.state,
                "reason": status.reason,
                "last_line": status.last_line,
                "launches": status.launches,
                "cells": needed[key],
                "stage_key": key,
            }


def _unreadable_records(view: RunView) -> Iterator[dict[str, Any]]:
    needed = _needed(view)
    for key, reason in view.unreadable:
        if key in view.stages and view.status(key).reason != reason:
            yield {
                "what": view.stages[key].label,
                "kind": view.stages[key].kind,
                "state": "unreadable",
                "reason": reason,
                "last_line": "",
                "launches": 1,
                "cells": needed[key],
                "stage_key": key,
            }


def _cells_left_out(view: RunView) -> Iterator[dict[str, Any]]:
    states = cell_states(view)
    for cell in view.cells:
        state, reason = states[cell.name]
        if cell.skipped or state == "INVALID":
            yield {
                "what": cell.name,
                "kind": "cell",
                "state": state,
                "reason": reason,
                "last_line": "",
                "launches": 0,
                "cells": 1,
                "stage_key": "",
            }


def _needed(view: RunView) -> Counter[str]:
    """Count the cells that need each stage."""
    return Counter(str(key) for cell in view.cells for key in cell.stages.values() if not cell.skipped)


def overhead_table(view: RunView) -> pd.DataFrame:
    """Return seconds of wall time outside stage bodies by what they went to, largest first."""
    total = sum(view.overheads.values())
    rows = [
        {"part": part, "seconds": seconds, "share": seconds / total if total else 0.0}
        for part, seconds in sorted(view.overheads.items(), key=lambda item: (-item[1], item[0]))
    ]
    return pd.DataFrame(rows, columns=["part", "seconds", "share"])
