"""Holds two runs of one matrix against each other: `python -m tests.support.same_runs RESULTS RESULTS`.

Their cells, the states of their stages and their exact metrics must be the same, wherever they ran; what
depends on the clock is not looked at.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.metrics import metric_named
from bench.results.store import Store

_OF_A_PART = re.compile(r" \(\d{8}-\d{6}-[^)]*\)$")


def differences(first: Path, second: Path) -> tuple[list[str], dict[str, int]]:
    """Return what differs between the latest runs of two folders, and how much was compared."""
    one, other = map(_content, (first, second))
    lines = [
        f"{what} {name}: {one[what].get(name)!r}, {other[what].get(name)!r}"
        for what in one
        for name in sorted(one[what].keys() | other[what].keys(), key=str)
        if one[what].get(name) != other[what].get(name)
    ]
    return lines, {what: len(found) for what, found in one.items()}


def _content(results: Path) -> dict[str, dict[Any, Any]]:
    store = Store.open(results, create=False)
    run = store.find_run(None)
    # Of a merged run, a timing that several parts have is there for each of them.
    stages = {stage.key: f"{stage.kind} {_OF_A_PART.sub('', stage.label)}" for stage in store.stages(run)}
    launches = store.launches(run)
    good = launches[launches["state"] != "killed"]
    found = {
        "cell": {
            cell.name: (
                dict(cell.axes),
                cell.skipped,
                sorted(stages[str(key)] for key in cell.stages.values()),
            )
            for cell in store.cells(run)
        },
        "state": {stages[row.stage_key]: row.state for row in good.itertuples()},
        "exact metric": dict(_exact(store.measurements(run))),
    }
    store.close()
    return found


def _exact(measurements: Any) -> Iterator[tuple[tuple[str, str, str], Any]]:
    for row in measurements[measurements["state"] == "ok"].itertuples():
        if metric_named(row.metric).kind == "exact":
            value = None if row.value != row.value else row.value  # NaN of a value that is unknown
            label = _OF_A_PART.sub("", row.label)
            yield (f"{row.kind} {label}", row.metric, row.qualifier), value


def main(arguments: list[str]) -> int:
    """Print what differs; returns 1 where anything does."""
    lines, compared = differences(*map(Path, arguments))
    for line in lines:
        print(line)
    counts = ", ".join(f"{count} {what}s" for what, count in compared.items())
    print(f"{'different' if lines else 'the same'}: {counts}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
