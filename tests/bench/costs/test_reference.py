"""Reference costs: what is shipped covers the shipped matrices, and scales to a machine of another speed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.costs import CostModel, guessed_s, reference
from bench.costs.calibration import Calibration
from bench.costs.rates import Rates
from bench.costs.reference import Reference, condense, read_reference, write_reference
from bench.matrix.reading import read_matrix
from bench.plan.planner import make_plan
from bench.results.store import LaunchCost

CALIBRATION = Calibration(python_s=0.1, product_s=0.02, cpp_s=2.0)
TRAINING = {"training_s": 10.0, "evaluation_s": 6.0, "steps_trained": 100.0}


def launch(kind: str = "lower", wall_s: float = 4.0, round_: int = 0, **settings: object) -> LaunchCost:
    return LaunchCost(kind, {"workload": "w", "backend": "b", **settings}, wall_s, round_)


def test_a_machine_of_the_same_calibration_costs_the_same():
    whole = Reference(CALIBRATION, Rates(), (launch(),))
    assert whole.scaled(CALIBRATION) == whole
    assert whole.scaled(None) is whole


def test_a_slower_core_stretches_imports_and_lowering_but_not_what_was_told_to_last():
    whole = Reference(CALIBRATION, Rates(server_s=5.0), (launch(), launch("infer", 3.0, sample_s=1.0)))
    there = whole.scaled(Calibration(python_s=0.2, product_s=0.02, cpp_s=4.0))
    assert [cost.wall_s for cost in there.launches] == pytest.approx([8.0, 1.0 + 2 * 2.0])
    assert there.rates.server_s == pytest.approx(10.0)
    assert there.rates.launch_bytes == whole.rates.launch_bytes


def test_a_slower_product_stretches_training_by_its_root_and_leaves_the_rest():
    cost = replace(launch("train", 20.0), values=TRAINING)
    (slower,) = Reference(CALIBRATION, Rates(), (cost,)).scaled(replace(CALIBRATION, product_s=0.08)).launches
    assert slower.wall_s == pytest.approx(4.0 + 2 * 16.0)
    assert slower.values == pytest.approx({"training_s": 20.0, "evaluation_s": 12.0, "steps_trained": 100.0})


def test_without_a_compiler_of_cpp_the_speed_of_python_counts_alone():
    assert Calibration(0.3, 0.02).host_over(CALIBRATION) == pytest.approx(3.0)
    assert Calibration(0.2, 0.02, 16.0).host_over(CALIBRATION) == pytest.approx(4.0)


def test_of_each_class_the_middle_first_and_later_launch_are_kept_with_what_drives_their_cost():
    seen = [launch(wall_s=seconds, seed=1) for seconds in (1.0, 9.0, 2.0)]
    seen += [launch("infer", 3.0, round_, sample_s=0.4) for round_ in range(4)]
    kept = condense(replace(cost, launches=4) if cost.kind == "infer" else cost for cost in seen)
    assert [(cost.kind, cost.wall_s, cost.round, cost.launches) for cost in kept] == [
        ("infer", 3.0, 0, 4),
        ("infer", 3.0, 1, 4),
        ("lower", 2.0, 0, None),
    ]
    assert kept[-1].settings == {"workload": "w", "backend": "b"}


def test_what_is_written_is_read_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reference, "_FILE", tmp_path / "reference.json")
    ceilings = LaunchCost("ceilings", {}, 9.0)
    whole = Reference(CALIBRATION, Rates(), (launch(), replace(launch("train"), values=TRAINING), ceilings))
    write_reference(whole)
    assert read_reference.__wrapped__() == whole
    assert len((tmp_path / "reference.json").read_text().splitlines()) == 1 + 3 + 1
    assert json.loads((tmp_path / "reference.json").read_text())["launches"][0]["wall_s"] == 4.0


@pytest.mark.parametrize("matrix", ["quick", "standard", pytest.param("full", marks=pytest.mark.slow)])
def test_the_shipped_costs_know_every_stage_of_the_matrices_that_one_runs_first(matrix: str) -> None:
    stages = make_plan(read_matrix(matrix), cpus=2).stages.values()
    model = CostModel((), (), 10, read_reference().launches)
    unknown = {stage.kind for stage in stages if model.cost_of(stage).source not in ("reference", "near")}
    assert unknown <= {"teach"}  # seconds of a student's training, which no recorded run has apart
    assert all(seconds > 0 for seconds in guessed_s(stages, 10).values())
