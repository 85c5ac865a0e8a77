"""A run with samples, profiles of operators and ceilings, for the figures of what is served."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from bench.records import Measurement
from reports.frames.run import read_frames
from reports.frames.view import RunView, read
from tests.support.drawn import kept  # noqa: F401
from tests.support.synthetic_run import Synthetic, build

SAMPLES = tuple(1e-3 * (1 + number / 1000) for number in range(500))
OPERATORS = {"aten::addmm": 6e-4, "aten::relu": 3e-4}


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    measured = (
        Measurement("latency_s", 1.25e-3, n=len(SAMPLES), samples=SAMPLES),
        *(Measurement("operator_s", seconds, qualifier=name) for name, seconds in OPERATORS.items()),
    )
    made_up = Synthetic(seeds=(0, 1), measured={"infer digits/dense@cpu-eager": measured})
    store = build(tmp_path_factory.mktemp("served"), made_up)
    view = read(store, "run-1")
    store.close()
    return view


@pytest.fixture(scope="session")
def served_frames(served: RunView) -> Mapping[str, pd.DataFrame]:
    return read_frames(served)
