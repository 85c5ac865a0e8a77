"""What tests of the check share: a store with a run that is the baseline `main`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.regression import baseline
from bench.results.store import Store
from tests.support.checked_runs import make_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(tmp_path)
    make_run(store, "before")
    baseline.save(store, "before", "main", tmp_path)
    return store
