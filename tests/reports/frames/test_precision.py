"""Which timings are preliminary: those of few launches, and those that a time budget left wide."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.frames.precision import converged, is_preliminary
from reports.frames.readings import Reading
from reports.frames.view import RunView, read
from tests.support.synthetic_run import Synthetic, build

WIDE = Reading(1.0, 0.5, 1.5, launches=6)
NARROW = Reading(1.0, 0.99, 1.01, launches=6)


@pytest.fixture
def view(tmp_path: Path) -> RunView:
    with closing(build(tmp_path, Synthetic(optimizers=("adam",), compressions=("none",)))) as store:
        return read(store, "run-1")


def with_budget(view: RunView, **budget: Any) -> RunView:
    return replace(view, run={**view.run, "request": {**view.run["request"], "budget": budget}})


def test_a_wide_interval_is_preliminary_where_time_was_limited(view: RunView) -> None:
    limited = with_budget(view, target_interval=0.05, budget_s=60.0)
    assert is_preliminary(limited, WIDE) and not is_preliminary(limited, NARROW)
    unlimited = with_budget(view, target_interval=0.05, budget_s=None)
    assert not is_preliminary(unlimited, WIDE) and converged(unlimited, WIDE) is False


def test_few_launches_are_preliminary_with_any_budget(view: RunView) -> None:
    assert is_preliminary(view, replace(NARROW, preliminary=True))
    assert converged(with_budget(view), NARROW) is None
