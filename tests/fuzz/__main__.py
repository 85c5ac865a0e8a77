"""`python -m tests.fuzz --examples 10000`: many mutated inputs, and each that was not met well."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.cases import make_case, prepare
from tests.fuzz.harness import empty_folder, judge
from tests.fuzz.quick_plots import draw_without_files

PROGRESS = 500
"""Examples between two lines that say how far it is."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first example; each has the next")
    asked = parser.parse_args()
    started, kinds, failed = time.monotonic(), Counter[str](), 0
    with empty_folder() as shared:
        valid = prepare(Path(shared))
        for number, seed in enumerate(range(asked.seed, asked.seed + asked.examples)):
            if number and number % PROGRESS == 0:
                print(f"{number} of {asked.examples} in {time.monotonic() - started:.0f} s", flush=True)
            with empty_folder() as folder, draw_without_files(seed % 20 != 0):
                case = make_case(random.Random(seed), valid, folder)
                kinds[case.kind] += 1
                found = judge(case)
            if found:
                failed += 1
                print(f"--seed {seed} --examples 1: {case.kind}: {ascii(case.words)[:300]}")
                print("  " + ascii(found[0][-1500:]).replace("\\n", "\n  "))
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"{asked.examples} examples ({told}) in {time.monotonic() - started:.0f} s: {failed} not met well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
