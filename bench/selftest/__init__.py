"""What the suite's own numbers are worth: what measuring costs, and whether intervals hold what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.errors import BenchError
from bench.execution.allocator import allocator_environment
from bench.execution.resources import find_resources
from bench.formatting import print_table
from bench.processes import refuse_bad_end
from techniques.registry import nearest


def print_part(part: str, results: Path, filter_text: str = "") -> None:
    """Measure one part, or all of them, and print it; raises BenchError that names the nearest part.

    `filter_text` keeps some of the models, runtimes and batch sizes of `runtimes`.
    """
    if part not in (*_PARTS, "all"):
        raise BenchError(f"unknown part {part!r}{nearest(part, [*_PARTS, 'all'])}")
    if filter_text and part != "runtimes":
        raise BenchError(f"--filter applies to the part runtimes only, not to {part}")
    if filter_text:
        _runtimes(results, filter_text)
        return
    for name, measure in _PARTS.items():
        if part in (name, "all"):
            measure(results)


def _loop(_: Path) -> None:
    # Like a worker, keep freed memory: only a new process can be set to that.
    command = [sys.executable, "-m", "bench.selftest.loop", str(len(find_resources().cpus))]
    done = subprocess.run(command, check=False, env={**os.environ, **allocator_environment("keep")})
    refuse_bad_end(command, done.returncode)


def _harness(results: Path) -> None:
    from bench.selftest.harness import harness_line, measure_harness

    for found in measure_harness(results, lambda text: print(text, file=sys.stderr)):
        print(harness_line(found))


def _runtimes(results: Path, filter_text: str = "") -> None:
    from bench.selftest.harness import harness_line
    from bench.selftest.runtimes import measure_runtimes

    for found in measure_runtimes(results, lambda text: print(text, file=sys.stderr), filter_text):
        print(harness_line(found))


def _intervals(results: Path) -> None:
    from bench.selftest.intervals import WORTH_HEADINGS, judge, run_pool, worth_rows, write_pools

    pools = run_pool(results)
    path = results / "selftest-intervals.csv"
    write_pools(pools, path)
    print(f"every launch: {path}")
    print_table(
        "Coverage of intervals on this machine", worth_rows([judge(pool) for pool in pools]), WORTH_HEADINGS
    )


_PARTS: Mapping[str, Callable[[Path], None]] = {
    "loop": _loop,
    "harness": _harness,
    "runtimes": _runtimes,
    "intervals": _intervals,
}
