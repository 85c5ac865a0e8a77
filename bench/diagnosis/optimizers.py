"""Holds optimizers of the table against what each has to do, and against small problems with known minima."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from bench.diagnosis.contracts import CONTRACTS, Contract
from bench.diagnosis.problems import PROBLEMS, Problem
from bench.diagnosis.training import at_rates, share_left
from techniques.optimizers import OptimizerRow
from techniques.registry import CannotApply, Technique

Verdict = Literal["pass", "fail", "cannot"]
PASS: Final = "pass"
FAIL: Final = "fail"
CANNOT: Final = "cannot"


@dataclass(frozen=True)
class Finding:
    """How one check of an optimizer ended.

    `kind`: a contract holds for every optimizer; which problems it solves is its nature. `at_default`: a
    problem was solved at the default rate. `reason` says what failed, or the rate that solved a problem.
    """

    kind: Literal["contract", "problem"]
    check: str
    verdict: Verdict
    reason: str = ""
    at_default: bool = True


def diagnose(technique: Technique[OptimizerRow]) -> Iterator[Finding]:
    """Check an optimizer by every contract and problem: ten seconds, for some minutes."""
    for contract in CONTRACTS:
        yield check_contract(technique, contract)
    for problem in PROBLEMS:
        yield check_problem(technique, problem)


def check_contract(technique: Technique[OptimizerRow], contract: Contract) -> Finding:
    """Say whether an optimizer keeps a contract; what its code raises breaks it."""
    try:
        reason = contract.breach(technique)
    except CannotApply as error:
        return Finding("contract", contract.name, CANNOT, str(error))
    except Exception as error:  # whatever code of a plug-in raises
        return Finding("contract", contract.name, FAIL, _line(error))
    return Finding("contract", contract.name, FAIL if reason else PASS, reason)


def check_problem(technique: Technique[OptimizerRow], problem: Problem) -> Finding:
    """Solve a problem at the own rate, else at one of those that the row's rate is searched in."""
    best = math.inf
    try:
        for number, at_rate in enumerate([technique, *at_rates(technique)]):
            left = share_left(at_rate, problem)
            if left <= problem.goal:
                rate = f"lr={at_rate.settings['lr']:.3g}" if number else ""
                return Finding("problem", problem.name, PASS, rate, at_default=not number)
            best = min(best, left)
    except CannotApply as error:
        return Finding("problem", problem.name, CANNOT, str(error))
    except Exception as error:
        return Finding("problem", problem.name, FAIL, _line(error), at_default=False)
    reason = f"{best:.2g} of the gap is left, more than {problem.goal:g}"
    return Finding("problem", problem.name, FAIL, reason, at_default=False)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
