"""The command that repeats a run says all that the run was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.execution.options import RunOptions, options_of
from bench.plan.shards import Shard

WHOLE = RunOptions(
    "my matrix.toml",
    Path("some results"),
    "optimizer=adam|sgd,backend=onnx*",
    ("digits", "own:my.py:make"),
    (Path("plugin one.py"), Path("two.py")),
    smoke=True,
    trusted=(Path("model.pt"),),
    shard=Shard(2, 5),
    engine="ray",
    artifacts="file:///tmp/kept",
    budget_s=90.0,
)


@pytest.mark.parametrize("options", [RunOptions("ci", Path("results")), WHOLE])
def test_the_options_of_a_command_are_those_it_was_made_of(options):
    assert options_of(options.command) == options


def test_what_only_one_run_is_asked_for_is_not_repeated():
    once = replace(WHOLE, fresh=True, rebuild=True, only=frozenset({"infer net @ cpu"}))
    assert options_of(once.command) == WHOLE
