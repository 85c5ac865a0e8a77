"""The pass under the runtime's profiler says why it found nothing, where it did not."""

from __future__ import annotations

import pytest

from bench.stages.operators import operators_pass
from techniques.registry import CannotApply


class Unprofiled:
    """A program whose runtime raises this where it is to be profiled."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def trace(self, prepared, calls, path):
        raise self._error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CannotApply("it has no profiler in Python"), "it has no profiler in Python"),
        (OSError("disk full"), "the runtime's profiler failed: OSError: disk full"),
    ],
)
def test_a_runtime_without_a_profiler_is_told_from_one_whose_profiler_failed(error, reason):
    (found,) = operators_pass(Unprofiled(error), [None], 1e-3)
    assert (found.metric, found.value, found.reason) == ("operator_s", None, reason)
