"""Runs side by side: every value, a verdict against the first run, and what is not comparable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.records import Measurement
from bench.regression.side_by_side import Row, SideBySide, compare_runs
from tests.support.synthetic_run import ENVIRONMENT, Synthetic, build

MADE_UP = Synthetic(
    optimizers=("adam",),
    compressions=("none", "int8-static"),
    backends=("cpu-eager", "onnxruntime"),
    launches=6,
)
EAGER = "infer infer digits/dense@cpu-eager 1"


def slower(factor: float) -> Synthetic:
    latency = Measurement("latency_s", factor * 1e-3, n=500)
    return replace(MADE_UP, measured={"infer digits/dense@cpu-eager": (latency,)})


def compared(*runs: str, results: Path) -> SideBySide:
    return compare_runs(runs, results, margin=0.05)


def row_of(found: SideBySide, stage: str, metric: str) -> Row:
    (row,) = (row for row in found.rows if (row.stage, row.metric) == (stage, metric))
    return row


def test_each_run_has_its_value_and_the_later_ones_a_verdict(tmp_path: Path) -> None:
    # In folders of their own: in one, each is part of the noise between runs of the next.
    for run_id, made_up in (("run-1", MADE_UP), ("run-2", slower(2.0)), ("run-3", slower(0.5))):
        build(tmp_path / run_id, made_up, run_id=run_id).close()
    found = compared(*(str(tmp_path / name / name) for name in ("run-1", "run-2", "run-3")), results=tmp_path)
    assert [side.name for side in found.sides] == ["run-1", "run-2", "run-3"]
    row = row_of(found, EAGER, "latency_s")
    first, second, third = row.values
    assert first and first.finding is None and first.launches == 6 and first.low is not None
    assert second and second.finding and second.finding.verdict == "regression"
    assert third and third.finding and third.finding.verdict == "improvement"
    assert row.verdict == "regression" and row.largest_change == pytest.approx(4.0)
    size = row_of(found, "lower lower digits/adam/0/none@cpu-eager 1", "artifact_bytes")
    assert size.verdict == "no change" and [value.value for value in size.values if value] == [8e5] * 3
    assert found.counts["regression"] == 1


def test_other_machines_and_libraries_are_told_and_seeded_values_are_not_compared(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "libraries": {"torch": "2.11.0"}, "git": {"revision": "ab" * 20}}
    other = {
        **environment,
        "cpu": {"model": "Other CPU", "cores": 4},
        "libraries": {"torch": "2.12.0"},
        "git": {"revision": "cd" * 20, "changed": True},
    }
    build(tmp_path / "here", replace(MADE_UP, environment=environment)).close()
    build(tmp_path / "there", replace(slower(2.0), environment=other)).close()
    found = compared("run-1", str(tmp_path / "there"), results=tmp_path / "here")
    names = [side.name for side in found.sides]
    assert names == [f"{tmp_path / 'here'}: run-1", f"{tmp_path / 'there'}: run-1"]
    assert [side.revision for side in found.sides] == ["ab" * 6, "cd" * 6 + " with changes"]
    assert "Other CPU" in found.sides[1].machine
    notes = "\n".join(found.notes)
    assert "differs from" in notes and "cpu; libraries (torch 2.11.0 -> 2.12.0)" in notes
    assert "values of" in notes and "differs between machines" in notes
    assert row_of(found, EAGER, "latency_s").verdict == "regression"  # timings are what one asks for
    accuracy = row_of(found, "evaluate evaluate digits/adam/0/none@cpu-eager 1", "accuracy")
    assert accuracy.verdict == "not comparable" and all(accuracy.values)


def test_what_only_one_run_has_is_named_and_has_no_verdict(tmp_path: Path) -> None:
    build(tmp_path, MADE_UP, run_id="run-1").close()
    build(tmp_path, replace(MADE_UP, backends=("cpu-eager",)), run_id="run-2").close()
    found = compared("run-1", "run-2", results=tmp_path)
    row = row_of(found, "infer infer digits/dense@onnxruntime 1", "latency_s")
    assert row.values[1] is None and row.verdict == ""
    assert any("stages of run-1 not in run-2: " in note for note in found.notes)
    again = compared("run-2", "run-1", results=tmp_path)
    row = row_of(again, "infer infer digits/dense@onnxruntime 1", "latency_s")
    assert row.values[0] is None and row.values[1] is not None


def test_few_launches_cannot_tell(tmp_path: Path) -> None:
    build(tmp_path, replace(MADE_UP, launches=3), run_id="run-1").close()
    build(tmp_path, replace(slower(2.0), launches=3), run_id="run-2").close()
    assert row_of(compared("run-1", "run-2", results=tmp_path), EAGER, "latency_s").verdict == "can't tell"


def test_a_run_is_found_by_its_beginning_and_as_the_latest_of_a_folder(tmp_path: Path) -> None:
    build(tmp_path, MADE_UP, run_id="20260101-000001-quick").close()
    build(tmp_path, MADE_UP, run_id="20260102-000001-quick").close()
    found = compared("20260101", "latest", results=tmp_path)
    assert [side.run_id for side in found.sides] == ["20260101-000001-quick", "20260102-000001-quick"]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["run-1"], "takes two runs or more"),
        (["run-1", "run-7"], "no run 'run-7'"),
        (["run-1", "smoke"], "smoke is a smoke run"),
        (["run-1", "letters"], "have no stage in common"),
        (["run-1", "else/where"], "must be a results folder"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, runs: list[str], message: str) -> None:
    build(tmp_path, MADE_UP, run_id="run-1").close()
    build(tmp_path, replace(MADE_UP, request={"smoke": True}), run_id="smoke").close()
    build(tmp_path, replace(MADE_UP, workloads=("letters",)), run_id="letters").close()
    with pytest.raises(BenchError, match=message) as failed:
        compared(*runs, results=tmp_path)
    assert "\n" not in str(failed.value)
