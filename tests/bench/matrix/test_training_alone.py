"""A matrix without [infer] trains and serves nothing; [targets] replace the workloads' own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import MatrixError
from bench.matrix.reading import read_matrix
from bench.plan.planner import Plan, make_plan
from techniques.optimizers import OPTIMIZERS

TRAINED = """
[train]
workload = ["digits", "diabetes-mlp"]
optimizer = ["sgd", "adam"]
seed = [0, 1]
"""
SERVED = """
[infer]
compression = "none"
backend = "cpu-eager"
"""


def planned(folder: Path, text: str) -> Plan:
    path = folder / "mine.toml"
    path.write_text(text)
    return make_plan(read_matrix(str(path)), cpus=2)


def test_it_has_a_cell_for_each_training_and_stages_of_training_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, TRAINED)
    assert len(plan.cells) == 8 and not plan.skipped
    counts = {kind: len(plan.of_kind(kind)) for kind in ("train", "step", "ceilings", "lower", "infer")}
    assert counts == {"train": 8, "step": 4, "ceilings": 1, "lower": 0, "infer": 0}


def test_trainings_are_those_of_the_same_matrix_with_infer(tmp_path: Path) -> None:
    alone, served = planned(tmp_path, TRAINED), planned(tmp_path, TRAINED + SERVED)
    for kind in ("train", "step"):
        assert {stage.key for stage in alone.of_kind(kind)} == {stage.key for stage in served.of_kind(kind)}


def test_crosses_all_serve_or_none_does(tmp_path: Path) -> None:
    cross = '[[cross]]\ntrain = {{ workload = "digits", optimizer = "{}" }}\n'
    assert len(planned(tmp_path, cross.format("sgd") + cross.format("adam")).cells) == 2
    infer = 'infer = { compression = "none", backend = "cpu-eager" }\n'
    with pytest.raises(MatrixError, match="cross 2: 'infer' is missing; all crosses have one, or none does"):
        planned(tmp_path, cross.format("sgd") + infer + cross.format("adam"))


def test_a_target_of_the_matrix_replaces_the_workloads_own(tmp_path: Path) -> None:
    plan = planned(tmp_path, f"{TRAINED}\n[targets]\ndigits = 0.5\n")
    targets = {
        stage.request.settings["workload"]: stage.request.settings["target"]
        for stage in plan.of_kind("train")
    }
    assert targets["digits"] == 0.5 and targets["diabetes-mlp"] != 0.5


def test_a_matrix_may_evaluate_a_training_more_often(tmp_path: Path) -> None:
    plan = planned(tmp_path, f"{TRAINED}\n[evaluations_per_epoch]\ndigits = 12\n")
    often = {
        stage.request.settings["workload"]: stage.request.settings["evaluations_per_epoch"]
        for stage in plan.of_kind("train")
    }
    assert often == {"digits": 12, "diabetes-mlp": 1}
    for line, message in (
        ("digitz = 3", r"\[evaluations_per_epoch\] unknown workload 'digitz'"),
        ("digits = 0", "evaluations_per_epoch.digits: must be greater than or equal to 1"),
    ):
        with pytest.raises(MatrixError, match=message):
            planned(tmp_path, f"{TRAINED}\n[evaluations_per_epoch]\n{line}\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("digitz = 0.5", r"\[targets\] unknown workload 'digitz'; did you mean 'digits'"),
        ('digits = "high"', "targets.digits: must be a valid number"),
        ("digits = nan", "targets.digits: must be a finite number"),
    ],
)
def test_a_mistake_in_a_target_gets_one_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(MatrixError, match=message):
        planned(tmp_path, f"{TRAINED}\n[targets]\n{line}\n")


def test_the_matrix_of_optimizers_has_all_of_them_on_four_workloads_with_seeds() -> None:
    matrix = read_matrix("optimizers")
    assert not matrix.serves
    seeds: dict[tuple[str, str], int] = {}
    rates: dict[tuple[str, str], set[str]] = {}
    for cell in matrix.cells:
        if ":" in cell.optimizer:
            rates.setdefault((cell.workload, cell.optimizer.partition(":")[0]), set()).add(cell.optimizer)
        else:
            seeds[cell.workload, cell.optimizer] = seeds.get((cell.workload, cell.optimizer), 0) + 1
    every = {OPTIMIZERS.default(name).text for name in OPTIMIZERS.rows() if name != "none"}
    assert {optimizer for _, optimizer in seeds} == every and len({workload for workload, _ in seeds}) == 4
    survey = {"sgd", "adam", "rmsprop"}
    assert all(count == (10 if optimizer in survey else 5) for (_, optimizer), count in seeds.items())
    assert {optimizer for _, optimizer in rates} == every and {workload for workload, _ in rates} < {
        workload for workload, _ in seeds
    }
    assert {len(tried) for tried in rates.values()} == {6}


@pytest.mark.slow
def test_a_run_reports_and_ranks_its_trainings(command, tmp_path: Path) -> None:
    budget = "[budget]\nmax_launches = 1\nsample_s = 0.02\n"
    (tmp_path / "mine.toml").write_text(TRAINED.replace('"digits", ', "") + budget)
    ran = command("run", "--matrix", tmp_path / "mine.toml", "--results", tmp_path)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    report = command("report", "--results", tmp_path)
    assert report.returncode == 0, report.stderr
    ranked = command("rank", "--results", tmp_path)
    assert ranked.returncode == 0 and "diabetes-mlp" in ranked.stdout
    listed = command("run", "--matrix", tmp_path / "mine.toml", "--results", tmp_path, "--dry-run")
    assert "trained and not served" in listed.stdout
