"""`bench selftest`: how accurate the suite's own numbers are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands import RESULTS, Command


def selftest(
    part: Annotated[
        str,
        typer.Argument(
            help="loop (3 minutes), harness, intervals (each a quarter of an hour), "
            "runtimes (half an hour, up to two where it is noisy), or all."
        ),
    ] = "all",
    results: Annotated[Path, typer.Option("--results", help="Folder of the selftest's own runs.")] = RESULTS
    / "selftest",
    filter_text: Annotated[
        str,
        typer.Option("--filter", help="Cells of runtimes to run, e.g. 'workload=*resnet18,batch_size=1'."),
    ] = "",
) -> None:
    """Measure how accurate the suite's own numbers are here. The machine should be idle meanwhile.

    loop: what the timed loop adds to a call, compared with a bare loop. harness: `bench run` with its
    processes and live display compared with bare scripts, paired by round. runtimes: launches of three
    models on the CPU's runtimes compared with the runtimes' own tools, in pairs; if interrupted, it prints
    the result of the pairs so far. intervals: from a hundred launches, how often intervals of ten contain the
    true value, and how often A is called different from A.
    """
    from bench.selftest import print_part

    print_part(part, results, filter_text)


COMMANDS = (Command("selftest", "Maintain", selftest),)
