"""Holds a new machine's prediction against its run: `python -m tests.performance.first_prediction [MATRIX]`.

The cache of costs is a fresh one and the results folder empty, so that nothing is known but the shipped costs
and this machine's calibration. The matrix is then run whole. Prints a row for each kind of stage, the factor
of the whole and the median error of a stage, and whether the bar is met: a factor of at most 1.5 either way.
Nothing else should run meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from bench.costs.comparison import Compared, compare
from bench.datasets.cache import cache_folder
from bench.results.store import Store

MAX_FACTOR = 1.5
_COSTS = "costs"


def main(matrix: str) -> bool:
    """Run a matrix as on a machine that is new, and print its prediction against it; return if it is met."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results")
        environment = {**os.environ, "BENCH_CACHE_DIR": str(_without_costs(Path(folder, "cache")))}
        command = [sys.executable, "-m", "bench", "run", "--matrix", matrix, "--results", str(results)]
        code = subprocess.run(command, env=environment).returncode
        if code not in (0, 1):
            sys.exit(code)
        with closing(Store.open(results, create=False)) as store:
            found = compare(store, store.find_run(None))
    if found is None:
        sys.exit("the run made no prediction")
    for row in found.rows:
        print(_line(row))
    whole = found.rows[-1]
    factor = (
        max(whole.predicted_s / whole.taken_s, whole.taken_s / whole.predicted_s) if whole.taken_s else 0.0
    )
    error = f"{found.median_error:.0%}" if found.median_error is not None else "unknown"
    print(f"predicted from {dict(found.sources)}; median error of a stage {error}")
    met = 0 < factor <= MAX_FACTOR
    print(f"{'met' if met else 'missed'}: a factor of {factor:.2f}, at most {MAX_FACTOR:g}")
    return met


def _without_costs(folder: Path) -> Path:
    """Return a cache folder with the data sets of the user's own and nothing that was measured."""
    folder.mkdir()
    own = cache_folder(_COSTS).parent
    for entry in own.iterdir() if own.is_dir() else ():
        if entry.name != _COSTS:
            (folder / entry.name).symlink_to(entry)
    return folder


def _line(row: Compared) -> str:
    taken = f"{row.taken_s:10.1f} s" if row.taken_s is not None else f"{'unknown':>12}"
    error = "" if row.median_error is None else f"   median error of a stage {row.median_error:.0%}"
    return f"{row.part:<26} predicted {row.predicted_s:10.1f} s   took {taken}{error}"


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1] if len(sys.argv) > 1 else "quick") else 1)
