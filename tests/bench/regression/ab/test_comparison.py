"""What `bench ab` makes of both sides' values that are not timed."""

from __future__ import annotations

from typing import Any

import pytest

from bench.regression.ab.comparison import judge_contents
from bench.regression.finding import Comparison
from tests.support.checked_runs import ENVIRONMENT


def content(accuracy: float, parameters: int = 100, **environment: Any) -> dict[str, Any]:
    values = {"accuracy": {"value": accuracy}, "parameters": {"value": parameters}}
    return {
        "environment": {**ENVIRONMENT, **environment},
        "stages": {"evaluate net": values},
        "repeats": {},
    }


@pytest.mark.parametrize(
    ("libraries", "verdict"), [({"torch": "2"}, "regression"), ({"torch": "3"}, "not comparable")]
)
def test_what_follows_from_the_seed_is_compared_only_where_both_sides_have_the_same_libraries(
    libraries, verdict
):
    """Another PyTorch adds in another order: the last digits of an accuracy are no regression."""
    comparison = Comparison("ab", "v1", "v2")
    judge_contents(comparison, content(0.9), content(0.8999, 101, libraries=libraries))
    found = {finding.metric: finding.verdict for finding in comparison.findings}
    assert found == {"accuracy": verdict, "parameters": "regression"}
    assert bool(comparison.notes) is (verdict == "not comparable")
    assert all("environments differ in libraries" in note for note in comparison.notes)
