"""XLA's tests, in a process of their own: torchax makes PyTorch know a device that others then look for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support.own_process import passes


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("jax", "torchax", "optax")),
    reason="needs jax, torchax and optax",
)
@pytest.mark.slow
def test_xla_gives_the_outputs_of_pytorchs_models_and_trains_them_as_pytorch_does():
    passes(Path(__file__).with_name("xla_in_its_own_process.py"))
