"""Writes the reference costs that are shipped: `python -m tests.performance.reference_costs RESULTS ...`.

Each folder has finished runs of this machine, the last with the rates to ship; nothing else should run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.costs.calibration import measure
from bench.costs.rates import measure_rates
from bench.costs.reference import Reference, condense, write_reference
from bench.results.store import LaunchCost, Store


def main(folders: list[str]) -> None:
    """Condense the launches of these folders, calibrate this machine, and replace what is shipped."""
    launches: list[LaunchCost] = []
    rates = None
    for folder in map(Path, folders):
        store = Store.open(folder, create=False)
        launches += store.cost_history().launches
        rates = measure_rates(store, folder) or rates
        store.close()
    if rates is None:
        sys.exit("no finished run in these folders")
    reference = Reference(measure(), rates, condense(launches))
    write_reference(reference)
    cpus = len(os.sched_getaffinity(0))
    print(
        f"{len(launches):,} launches, {len(reference.launches):,} kept; {reference.calibration}, {cpus} cores"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
