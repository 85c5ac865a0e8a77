"""A finished run in a store of its own, shared by the tests that only read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.results.store import Store
from reports.frames.view import RunView, read
from tests.support.synthetic_run import Synthetic, build


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made_up = Synthetic(gap={"adam": 1.1}, invalid=("momentum/0/int8-static@onnxruntime",))
    store = build(tmp_path_factory.mktemp("results"), made_up)
    yield store
    store.close()


@pytest.fixture(scope="session")
def view(store: Store) -> RunView:
    return read(store, "run-1")


@pytest.fixture(scope="session")
def report(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole report."""
    from reports.write import write

    return write(store, "run-1", tmp_path_factory.mktemp("report")).parent
