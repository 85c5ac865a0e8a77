"""ExecuTorch's tests, in a process of their own: its runtime is native code that can end the process."""

from __future__ import annotations

import pytest
from own_process import passes


def test_executorch_gives_the_models_outputs_by_the_kernels_that_a_format_promises():
    pytest.importorskip("executorch")
    passes("executorch_in_its_own_process.py")
