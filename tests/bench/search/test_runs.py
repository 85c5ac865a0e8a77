"""A chunk of candidates is a matrix; what its run found are the answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.execution.options import RunOptions
from bench.matrix.reading import read_matrix
from bench.records import Measurement, Result
from bench.results.store import Store
from bench.search import runs
from bench.search.goals import Answer, read_problem
from bench.search.runs import EVALUATED, Runs, answer_of, matrix_text
from bench.search.space import Candidate
from reports.frames.inference import inference_table
from reports.frames.view import read, records
from tests.support.synthetic_run import Synthetic, build, key_of

LOSS, LATENCY = "quality_loss_points", "latency_s"
PROBLEM = read_problem([f"{LOSS} <= 1"], LATENCY)
CANDIDATES = [
    Candidate("", "", "onnxruntime"),
    Candidate("prune-channels:0.5", "int8-static", "onnxruntime"),
    Candidate("", "int8-dynamic", "cpu-eager"),
]


def test_a_matrix_has_its_candidates_and_the_reference_of_the_quality_lost(tmp_path: Path) -> None:
    path = tmp_path / "chunk.toml"
    path.write_text(matrix_text("digits", CANDIDATES, "first", "fp32", 2))
    matrix = read_matrix(str(path))
    found = {(cell.compression, cell.backend) for cell in matrix.cells}
    wanted = {(candidate.compression, candidate.backend) for candidate in CANDIDATES}
    assert found == {*wanted, ("none", "cpu-eager")}
    assert {cell.batch_size for cell in matrix.cells} == {2}
    assert (matrix.budget.max_launches, matrix.budget.evaluate_samples) == (1, EVALUATED)
    path.write_text(matrix_text("digits", CANDIDATES, "full", "fp32", 2))
    full = read_matrix(str(path))
    assert (full.budget.max_launches, full.budget.evaluate_samples) == (10, None)
    assert [cell.training for cell in full.cells] == [cell.training for cell in matrix.cells]


def test_a_workload_s_name_may_have_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "chunk.toml"
    (tmp_path / 'a "b"').mkdir()
    path.write_text(matrix_text('module:my "model".py:make', [], "first", "fp32", 1))
    assert '"module:my \\"model\\".py:make"' in path.read_text()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none", "int8-static", "prune-channels:0.5", "prune-channels:0.5+int8-static"),
        invalid=("prune-channels:0.5@onnxruntime",),
        launches=1,
    )
    made = build(tmp_path, made_up)
    yield made
    made.close()


def answers(store: Store, rung: str) -> dict[tuple[str, str], Answer]:
    view = read(store, "run-1")
    rows = records(inference_table(view))
    return {
        (row["compression"], row["backend"]): answer_of(view, row, PROBLEM, rung)  # type: ignore[arg-type]
        for row in rows
    }


def test_one_launch_answers_the_first_rung_with_errors_and_is_in_doubt_on_the_full_one(store: Store) -> None:
    first = answers(store, "first")["int8-static", "onnxruntime"]
    assert not first.reason and first.doubt == "one launch" and first.launches == 1
    assert first.values[LOSS] == pytest.approx(0.4, abs=1e-6)
    assert first.errors[LATENCY] == pytest.approx(0.15 * first.values[LATENCY])
    # Two standard errors of the 1.7 % of answers that changed, of 2,000.
    assert first.errors[LOSS] == pytest.approx(200 * (0.017 / 2000) ** 0.5)
    full = answers(store, "full")["int8-static", "onnxruntime"]
    assert "too few launches" in full.doubt and not full.errors
    assert (full.run_id, full.cell) == ("run-1", "digits/adam/int8-static@onnxruntime")


def test_a_goal_on_accuracy_is_judged_with_the_error_of_a_part_of_the_test_set(store: Store) -> None:
    view = read(store, "run-1")
    name = "digits/adam/none@onnxruntime"
    row = next(entry for entry in records(inference_table(view)) if entry["cell"] == name)
    problem = read_problem(["accuracy >= 0.95"], LATENCY)
    found = answer_of(view, row, problem, "first")
    assert found.values["accuracy"] == pytest.approx(0.94)
    assert found.errors["accuracy"] == pytest.approx(2 * (0.94 * 0.06 / 2000) ** 0.5)
    assert not problem.holds(found) and problem.may_hold(found)
    assert not problem.may_hold(answer_of(view, row, problem, "full"))


def test_invalid_and_skipped_cells_are_left_out_with_the_reason(store: Store) -> None:
    found = answers(store, "first")
    assert found["prune-channels:0.5", "onnxruntime"].reason == "INVALID: cosine 0.5 is under 0.98"
    assert found["int8-static", "cpu-eager"].reason.startswith("skipped: cpu-eager has no kernel")


def test_a_metric_that_no_stage_measured_is_said(store: Store) -> None:
    view = read(store, "run-1")
    row = next(row for row in records(inference_table(view)) if row["state"] != "skipped")
    problem = read_problem([], "energy_j")
    assert answer_of(view, row, problem, "first").reason == "energy_j was not measured"
    assert (
        answer_of(view, row, read_problem([], "peak_tensor_bytes"), "first").values["peak_tensor_bytes"]
        == 3e6
    )


def test_an_interrupted_run_answers_what_it_has_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = Synthetic(optimizers=("adam",), compressions=("none", "prune-channels:0.5"), launches=0)
    own = Runs("digits", PROBLEM, RunOptions("", tmp_path), budget_s=600.0)
    candidates = [Candidate(steps, "", "onnxruntime") for steps in ("", "prune-channels:0.5")]
    path = own._write(candidates, "first")

    def interrupted(*_: object) -> str:
        started = build(tmp_path, made_up, finish=False)
        stage = next(
            s for s in started.stages("run-1") if s.key == key_of("infer digits/dense@onnxruntime 1")
        )
        measured = (Measurement("latency_s", 1e-3, n=500),)
        started.add_launch("run-1", stage, 0, Result("ok", wall_s=1.0, measurements=measured))
        started.close()
        monkeypatch.setattr(Runs, "_interrupted", lambda self, options: "run-1")
        raise runs.BudgetSpent

    monkeypatch.setattr(Runs, "_finished", interrupted)
    found = own(candidates, "first")
    assert list(found) == [candidates[0]] and own.spent and path.is_file()
    assert found[candidates[0]].values[LATENCY] == pytest.approx(1e-3)


def test_the_same_chunk_has_the_same_file(tmp_path: Path) -> None:
    own = Runs("digits", PROBLEM, RunOptions("", tmp_path), budget_s=600.0)
    assert own._write(CANDIDATES, "first") == own._write(CANDIDATES, "first")
    assert own._write(CANDIDATES, "full") != own._write(CANDIDATES, "first")


def test_the_first_rung_leaves_time_for_the_full_one(tmp_path: Path) -> None:
    own = Runs("digits", PROBLEM, RunOptions("", tmp_path), budget_s=1000.0)
    own.started_s -= 700.0
    assert not own.has_time("first") and own.has_time("full")
    own.started_s -= 300.0
    assert not own.has_time("full")
