"""`python -m tests.kills --kills 100 --seed 0`: kills runners, servers and workers of small runs.

Each run is killed up to 20 times, goes on by the same command, and must end as one that nobody killed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.kills.harness import PARTS, KilledRun, faults, uninterrupted

MAX_PER_RUN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further run after these")
    asked = parser.parse_args()
    started, generator, runs = time.monotonic(), random.Random(asked.seed), 0
    total, bad = Counter[str](), 0
    with TemporaryDirectory(prefix="bench-kills-") as folder:
        expected = uninterrupted(Path(folder, "reference"))
        while total.total() < asked.kills and time.monotonic() - started < 60 * asked.minutes:
            left = min(MAX_PER_RUN, asked.kills - total.total())
            shuffled = generator.sample(PARTS, len(PARTS))
            run = KilledRun(Path(folder, f"run-{runs}"), generator)
            run.carry_out(Counter(shuffled[number % len(PARTS)] for number in range(left)))
            found = list(faults(run.results, run.kills, expected))
            runs, bad, total = runs + 1, bad + bool(found), total + run.kills
            print(f"run {runs}: {_told(run.kills)}: {'; '.join(found) or 'whole'}", flush=True)
    seconds = time.monotonic() - started
    print(f"{total.total()} kills ({_told(total)}) in {runs} runs, {seconds:.0f} s: {bad} runs not whole")
    return 1 if bad else 0


def _told(kills: Counter[str]) -> str:
    return ", ".join(f"{kills[part]} of a {part}" for part in PARTS)


if __name__ == "__main__":
    sys.exit(main())
