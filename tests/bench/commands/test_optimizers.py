"""`bench optimizers`: what it prints, and how it ends."""

from __future__ import annotations

import csv
import re

import pytest

from bench.diagnosis.contracts import CONTRACTS
from bench.diagnosis.problems import PROBLEMS

PLUGIN = """
import torch
from techniques.optimizers import OPTIMIZERS

OPTIMIZERS.add("lazy", f"{__file__}:Lazy", about="Does nothing", defaults={"lr": 0.1})

class Lazy(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})
    def step(self, closure=None):
        return None
"""


def test_an_optimizer_that_breaks_no_contract_ends_with_0_and_has_a_row_of_checks(bench, tmp_path):
    done = bench("optimizers", "momentum", "--csv", tmp_path / "checks.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "momentum" in line)
    assert f"{len(CONTRACTS)}/{len(CONTRACTS)}" in line
    with (tmp_path / "checks.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["optimizer"] == "momentum" and row["unavailable"] == ""
    assert {row[contract.name] for contract in CONTRACTS} == {"pass"}
    assert all(re.fullmatch(r"pass( at lr=.+)?|fail", row[problem.name]) for problem in PROBLEMS)
    assert row["valley"].startswith("pass")


def test_a_broken_contract_ends_with_1_and_is_named(bench, tmp_path):
    (tmp_path / "lazy.py").write_text(PLUGIN)
    done = bench("optimizers", "lazy", "--plugin", tmp_path / "lazy.py")
    assert done.returncode == 1
    assert "lazy: moves: after 3 steps these have not moved" in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adm", "unknown optimizer 'adm'; did you mean 'adam'?"),
        ("adam:variant=fast", "variant: 'fast' must be one of auto, loop, foreach, fused"),
    ],
)
def test_a_wrong_name_is_one_line(bench, name, message):
    done = bench("optimizers", name)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
