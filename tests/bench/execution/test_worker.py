"""A worker refuses what the store could not keep, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.execution import worker
from bench.records import Measurement
from tests.support.stage_requests import request_of


@pytest.mark.parametrize(
    ("measured", "state", "reason"),
    [
        ([("latency_s", ""), ("latency_s", "2/s")], "ok", ""),
        ([("latency_s", "2/s"), ("valid", ""), ("latency_s", "2/s")], "failed", "latency_s 2/s twice"),
    ],
)
def test_a_stage_that_measures_a_metric_twice_fails(
    measured: list[tuple[str, str]],
    state: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = request_of("infer", tmp_path, {})

    def stage(*_: object) -> list[Measurement]:
        return [Measurement(metric, 1.0, qualifier=qualifier) for metric, qualifier in measured]

    monkeypatch.setattr(worker, "prepare", lambda *_: (stage, request))
    result = worker.run(request)
    assert (result.state, reason in result.reason) == (state, True)
    assert len(result.measurements) == (len(measured) if state == "ok" else 0)
