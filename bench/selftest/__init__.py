"""What the suite's own numbers are worth: what measuring costs, and whether intervals hold what they say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.errors import BenchError
from techniques.registry import nearest


def print_part(part: str, results: Path) -> None:
    """Measure one part and print it; raises BenchError that names the nearest part."""
    if part not in _PARTS:
        raise BenchError(f"unknown part {part!r}{nearest(part, _PARTS)}")
    _PARTS[part](results)


def _loop(_: Path) -> None:
    import torch

    from bench.resources import find_resources
    from bench.selftest.loop import measure_overheads, overhead_line

    torch.set_num_threads(len(find_resources().cpus))
    for found in measure_overheads():
        print(overhead_line(found), flush=True)


def _harness(results: Path) -> None:
    from bench.selftest.harness import harness_line, measure_harness

    for found in measure_harness(results, lambda text: print(text, file=sys.stderr)):
        print(harness_line(found))


def _intervals(results: Path) -> None:
    from bench.listing import print_table
    from bench.selftest.intervals import measure_worth, worth_rows

    print_table("What intervals are worth here", worth_rows(list(measure_worth(results))))


_PARTS: Mapping[str, Callable[[Path], None]] = {
    "loop": _loop,
    "harness": _harness,
    "intervals": _intervals,
}
