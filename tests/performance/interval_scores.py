"""How often the interval of a ratio holds the truth: `python -m tests.performance.interval_scores [CHECKS]`.

Launches are simulated: lognormal, of two modes, with heavy tails, and carried over from one to the next. The
interval is the one by which `bench check` judges launches, before the noise between runs widens it. It prints
Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.performance.tables import print_table
from tests.support.launch_kinds import LAUNCHES, share_that_holds

COUNTS = (6, 10, 20)
"""Launches a side."""

CHECKS = 4000


def main(arguments: Sequence[str]) -> None:
    checks = int(arguments[0]) if arguments else CHECKS
    print(f"share of {checks:,} intervals of 95 % that hold the true ratio\n")
    headings = ("launches", *(f"{count} a side" for count in COUNTS))
    print_table(
        headings,
        ((kind, *(f"{share_that_holds(kind, count, checks):.1%}" for count in COUNTS)) for kind in LAUNCHES),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
