"""`bench selftest`: what the suite's own numbers are worth on this machine."""

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
    results: Annotated[
        Path, typer.Option("--results", help="Folder of its own runs, apart from yours.")
    ] = RESULTS / "selftest",
    filter_text: Annotated[
        str,
        typer.Option("--filter", help="What to keep of runtimes, e.g. 'workload=*resnet18,batch_size=1'."),
    ] = "",
) -> None:
    """Measure what the suite's own numbers are worth here. Let the machine do nothing else meanwhile.

    loop: what our timed loop adds to a call, against a bare loop. harness: `bench run` with its processes and
    live display against bare scripts, paired by round. runtimes: launches of three models on the CPU's
    runtimes against the runtimes' own tools, in pairs; interrupted, it prints what the pairs so far say.
    intervals: of a hundred launches, how often intervals from ten hold what they should, and how often A
    against A is called different.
    """
    from bench.selftest import print_part

    print_part(part, results, filter_text)


COMMANDS = (Command("selftest", "Maintain", selftest),)
