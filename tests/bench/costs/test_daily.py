"""Ceilings hold for a day on their machine, and say when they were measured."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.costs.daily import DISTURBED_AGE_S, keep_daily, read_daily
from bench.costs.evidence import progress_of
from bench.costs.kept import MAX_AGE_S
from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import StageRow

STAGE = StageRow("a" * 64, "ceilings", "ceilings of cpu", False, (), PlannedRequest())
RATE = Measurement("ceiling_operations_per_s", 1e12, qualifier="fp32", method="best product")
FOUND = Result("ok", measurements=(RATE,), environment={"cpu": "a CPU"})
SLOWED = replace(FOUND, dynamic={"disturbed": "ready tasks waited for a CPU"})


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_700_000_000.0]  # 2023-11-14 22:13:20 UTC
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_a_kept_result_says_that_it_was_taken_over_and_when_it_was_measured(clock: list[float]) -> None:
    assert read_daily(STAGE) is None
    keep_daily(STAGE, FOUND)
    clock[0] += 3600
    found = read_daily(STAGE)
    assert found is not None and found.environment == {"cpu": "a CPU"}
    (entry,) = found.measurements
    assert (entry.value, entry.qualifier) == (1e12, "fp32")
    assert entry.method == "best product; taken over, measured 2023-11-14 22:13 UTC"


def test_a_result_holds_for_a_day_and_not_where_the_clock_went_back(clock: list[float]) -> None:
    keep_daily(STAGE, FOUND)
    clock[0] += MAX_AGE_S - 1
    assert read_daily(STAGE) is not None
    clock[0] += 1
    assert read_daily(STAGE) is None
    clock[0] -= 2 * MAX_AGE_S
    assert read_daily(STAGE) is None


def test_another_key_or_machine_has_nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_daily(STAGE, FOUND)
    assert read_daily(replace(STAGE, key="b" * 64)) is None
    monkeypatch.setattr(platform, "node", lambda: "another")
    assert read_daily(STAGE) is None


@pytest.mark.parametrize(
    ("stage", "result"),
    [
        (STAGE, Result("failed", "no torch")),
        (replace(STAGE, kind="evaluate"), FOUND),
    ],
    ids=["failed", "of another kind"],
)
def test_only_a_good_result_of_a_daily_kind_is_kept(stage: StageRow, result: Result, cache: Path) -> None:
    keep_daily(stage, result)
    assert read_daily(stage) is None and not list(cache.rglob("*.json"))


def test_a_node_of_a_cluster_has_what_was_measured_on_its_machine() -> None:
    keep_daily(STAGE, FOUND, "machine-1 kind")
    assert read_daily(STAGE, "machine-1 kind") is not None
    assert read_daily(STAGE, "machine-2 kind") is None and read_daily(STAGE) is None


def test_a_disturbed_result_holds_for_an_hour_and_stays_marked(clock: list[float]) -> None:
    keep_daily(STAGE, SLOWED)
    clock[0] += DISTURBED_AGE_S - 1
    found = read_daily(STAGE)
    assert found is not None and found.dynamic["disturbed"] == "ready tasks waited for a CPU"
    clock[0] += 1
    assert read_daily(STAGE) is None


def test_a_disturbed_result_never_takes_the_place_of_an_undisturbed_one_that_holds(
    clock: list[float],
) -> None:
    def disturbed() -> str:
        found = read_daily(STAGE)
        assert found is not None
        return str(found.dynamic["disturbed"])

    keep_daily(STAGE, SLOWED)
    keep_daily(STAGE, FOUND)
    assert disturbed() == ""
    keep_daily(STAGE, SLOWED)
    assert disturbed() == ""
    clock[0] += MAX_AGE_S
    keep_daily(STAGE, SLOWED)
    assert disturbed() != ""


def test_what_is_older_than_a_day_leaves_the_cache(clock: list[float], cache: Path) -> None:
    keep_daily(STAGE, FOUND)
    clock[0] += MAX_AGE_S
    keep_daily(replace(STAGE, key="b" * 64), FOUND)
    (path,) = cache.rglob("daily.json")
    assert [name[0] for name in json.loads(path.read_text())] == ["b"]


def test_a_damaged_cache_costs_a_measurement_and_nothing_else(cache: Path) -> None:
    keep_daily(STAGE, FOUND)
    (path,) = cache.rglob("daily.json")
    whole = path.read_text()
    for damaged in ("[]", "{", whole.replace("1000000000000.0", '"fast"'), "[" * 10_000):
        path.write_text(damaged)
        assert read_daily(STAGE) is None
    keep_daily(STAGE, FOUND)
    assert read_daily(STAGE) is not None


def test_a_prediction_counts_what_is_kept_as_done(tmp_path: Path) -> None:
    keep_daily(STAGE, FOUND)
    assert progress_of([STAGE], tmp_path, None, None).done(STAGE)
    assert not progress_of([STAGE], tmp_path, None, None, rebuild=True).done(STAGE)
