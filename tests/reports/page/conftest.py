"""A page of a made-up run, and that page in a browser, for the tests that only read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.records import Measurement
from tests.support.opened_page import Opened, written
from tests.support.synthetic_run import Synthetic


@pytest.fixture(scope="session")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    calls = tuple(1e-3 + 1e-6 * (number % 40) for number in range(400))
    sampled = {"infer digits/dense@cpu-eager": (Measurement("latency_s", 1.02e-3, n=400, samples=calls),)}
    invalid = ("momentum/0/int8-static@onnxruntime",)
    made_up = Synthetic(seeds=(0, 1), invalid=invalid, measured=sampled)
    return written(tmp_path_factory.mktemp("page"), made_up)


@pytest.fixture
def opened(browser: Any, report_page: Path) -> Iterator[Opened]:
    opened = Opened(browser, report_page)
    yield opened
    opened.page.close()
    assert opened.complaints == []
