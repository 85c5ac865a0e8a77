"""Workers keep the memory that they free, unless the user has chosen how it is got."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.execution.allocator import KEEP, allocator_environment

FAULTS = """
import torch
from bench.instruments import clock
torch.set_num_threads(1)
one = torch.ones(2_000_000)
call = lambda: one + one
clock.warm_up(call, most_s=0.2)
samples = clock.sample(call, seconds=0.0, least=100, most=100)
print(samples.page_faults / samples.calls)
"""


def faults_of_a_call(**environment: str) -> float:
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return float(done.stdout)


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for name in (*KEEP, "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the settings are glibc's")
def test_memory_that_is_kept_is_not_asked_for_again():
    # 8 MB are 1,953 pages; a block that is taken from another place of the heap faults once.
    assert faults_of_a_call(**allocator_environment("keep")) < 200


def test_what_the_user_has_chosen_is_left_alone(monkeypatch):
    assert allocator_environment("system") == {}
    assert allocator_environment("keep") == KEEP
    monkeypatch.setenv("LD_PRELOAD", "libjemalloc.so")
    assert allocator_environment("keep") == {}
    monkeypatch.delenv("LD_PRELOAD")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000")
    assert allocator_environment("keep") == {}
