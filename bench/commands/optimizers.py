"""`bench optimizers`: whether optimizers do what their names say, on small problems with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import Command, Plugins
from bench.errors import BenchError
from bench.formatting import print_table, say
from bench.matrix.axes import NO_OPTIMIZER
from bench.plugins import load_plugins
from techniques.optimizers import OPTIMIZERS
from techniques.registry import TechniqueError

if TYPE_CHECKING:
    from bench.diagnosis.optimizers import Finding

HEADINGS = ("optimizer", "contracts", "solved at its default", "solved at some rate", "not solved")


def optimizers(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Optimizers with settings, such as adam:lr=0.01. Default: all that run here."),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Check that optimizers do what they should, on small problems with known minima.

    Takes about ten seconds for each, and up to two minutes for psgd-kron and adamw-8bit.

    A contract holds for every optimizer: it moves each weight, leaves those without gradient, decays them,
    and keeps the state that its row says. Which problems it solves is its nature: gradient descent alone does
    not solve what is badly scaled. Ends with code 1 where a contract is broken.
    """
    load_plugins(plugin or [])
    chosen = names or [name for name in OPTIMIZERS.rows() if name != NO_OPTIMIZER]
    try:
        techniques = [OPTIMIZERS.parse(name) for name in chosen]
    except TechniqueError as error:
        raise BenchError(str(error)) from None
    import torch

    from bench.diagnosis.optimizers import FAIL, diagnose

    torch.set_num_threads(1)  # more would only wait for each other, over tensors this small

    lines, breaches = [], []
    for technique in techniques:
        reason = technique.row.unavailable()
        if reason:
            lines.append((technique.text, f"unavailable: {reason}", "", "", ""))
            continue
        findings = list(diagnose(technique))
        lines.append((technique.text, *_summary(findings)))
        breaches += [
            f"{technique.text}: {finding.check}: {finding.reason}"
            for finding in findings
            if finding.kind == "contract" and finding.verdict == FAIL
        ]
    print_table("optimizers", lines, HEADINGS)
    for breach in breaches:
        say(breach)
    if breaches:
        raise typer.Exit(1)


def _summary(findings: Sequence[Finding]) -> tuple[str, str, str, str]:
    contracts = [finding for finding in findings if finding.kind == "contract"]
    problems = [finding for finding in findings if finding.kind == "problem"]
    solved = [finding for finding in problems if finding.verdict == "pass"]
    return (
        _count(contracts),
        f"{sum(finding.at_default for finding in solved)}/{len(problems)}",
        f"{len(solved)}/{len(problems)}",
        ", ".join(finding.check for finding in problems if finding.verdict != "pass"),
    )


def _count(contracts: Sequence[Finding]) -> str:
    broken = [finding.check for finding in contracts if finding.verdict != "pass"]
    kept = f"{len(contracts) - len(broken)}/{len(contracts)}"
    return f"{kept}, not {', '.join(broken)}" if broken else kept


COMMANDS = (Command("optimizers", "Look", optimizers),)
