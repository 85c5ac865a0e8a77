"""XLA's tests, in a process of their own: torchax makes PyTorch know a device that others then look for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

OWN = Path(__file__).with_name("xla_in_its_own_process.py")


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("jax", "torchax", "optax")),
    reason="needs jax, torchax and optax",
)
def test_xla_gives_the_outputs_of_pytorchs_models_and_trains_them_as_pytorch_does():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(OWN)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
