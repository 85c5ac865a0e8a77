"""`bench optimizers`: whether optimizers do what their names say, on small problems with known answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
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
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write a row for each optimizer to this file, with a column for each check."
        ),
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
    rows: list[Mapping[str, str]] = []
    for technique in techniques:
        reason = technique.row.unavailable()
        if reason:
            lines.append((technique.text, f"unavailable: {reason}", "", "", ""))
            rows.append({"optimizer": technique.text, "unavailable": reason})
            continue
        findings = list(diagnose(technique))
        rows.append({"optimizer": technique.text} | {each.check: _word(each) for each in findings})
        lines.append((technique.text, *_summary(findings)))
        breaches += [
            f"{technique.text}: {finding.check}: {finding.reason}"
            for finding in findings
            if finding.kind == "contract" and finding.verdict == FAIL
        ]
    print_table("optimizers", lines, HEADINGS)
    if csv:
        _write(rows, csv)
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


def _word(finding: Finding) -> str:
    """Return what a check's column says: the verdict, and the rate that a problem was solved at."""
    solved_at = finding.kind == "problem" and not finding.at_default and finding.verdict == "pass"
    return f"pass at {finding.reason}" if solved_at else finding.verdict


def _write(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    import pandas as pd

    from bench.diagnosis.contracts import CONTRACTS
    from bench.diagnosis.problems import PROBLEMS
    from bench.files import replace_file
    from reports.formats.csv import as_csv

    checks = [*(contract.name for contract in CONTRACTS), *(problem.name for problem in PROBLEMS)]
    columns = ["optimizer", "unavailable", *checks]
    frame = pd.DataFrame(rows, columns=columns).fillna("")
    try:
        replace_file(path, as_csv(frame))
    except OSError as error:
        raise BenchError(f"{path}: cannot be written: {error.strerror or error}") from None


def _count(contracts: Sequence[Finding]) -> str:
    broken = [finding.check for finding in contracts if finding.verdict != "pass"]
    kept = f"{len(contracts) - len(broken)}/{len(contracts)}"
    return f"{kept}, not {', '.join(broken)}" if broken else kept


COMMANDS = (Command("optimizers", "Look", optimizers),)
