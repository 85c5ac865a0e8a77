"""The cost model: what a stage will take, by launches of its class, by its relatives, by a reference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.costs import CostModel
from bench.results.store import LaunchCost
from bench.workloads import WORKLOADS
from tests.support.costs import LOWERED, TRAIN, cost, stage


def training(steps: int, budget: int, *, reached: bool, step_s: float = 0.5) -> LaunchCost:
    """A training with 3 s of its own, evaluated every 10 steps for 2 s."""
    evaluations = -(-steps // 10)
    values = {
        "steps_trained": steps,
        "training_s": steps * step_s,
        "evaluation_s": 2.0 * evaluations,
        "evaluation_period": 10,
        "curve_step": evaluations,
        "target_reached": float(reached),
    }
    settings = TRAIN | {"steps": budget, "target": 0.9}
    return LaunchCost("train", settings, 3.0 + steps * step_s + 2.0 * evaluations, values=values)


def test_a_training_is_predicted_by_the_steps_that_reached_the_target_before():
    model = CostModel([training(200, 1000, reached=True)])
    predicted = model.cost_of(stage("train", steps=1000, target=0.9))
    assert predicted.first_s == pytest.approx(3 + 200 * 0.5 + 20 * 2)
    assert not predicted.bound


def test_a_training_that_reached_nothing_yet_is_predicted_by_its_whole_budget_as_an_upper_bound():
    model = CostModel([], [training(20, 20, reached=False)])
    predicted = model.cost_of(stage("train", steps=1000, target=0.9))
    assert predicted.bound and predicted.source == "probe"
    assert predicted.first_s == pytest.approx(3 + 1000 * 0.5 + 100 * 2)


def test_a_training_known_to_miss_its_target_takes_its_budget_for_certain():
    model = CostModel([training(1000, 1000, reached=False)])
    assert not model.cost_of(stage("train", steps=1000, target=0.9)).bound


def test_a_training_that_does_not_stop_at_its_target_takes_its_budget_for_certain():
    model = CostModel([training(200, 1000, reached=True)])
    predicted = model.cost_of(stage("train", steps=1000, target=0.9, stops_at_target=False))
    assert predicted.first_s == pytest.approx(3 + 1000 * 0.5 + 100 * 2) and not predicted.bound


def test_a_training_that_did_not_stop_says_nothing_of_when_one_does():
    known = training(1000, 1000, reached=True)
    model = CostModel([replace(known, settings={**known.settings, "stops_at_target": False})])
    predicted = model.cost_of(stage("train", steps=1000, target=0.9))
    assert predicted.first_s == pytest.approx(3 + 1000 * 0.5 + 100 * 2) and predicted.bound


TRIAL = TRAIN | {"searched": ["lr"], "target": 0.9, "steps": 1000, "optimizer": "adam:lr=0.02"}


def test_a_trial_is_predicted_as_a_training_of_its_optimizers_defaults():
    model = CostModel([training(200, 1000, reached=True)])
    predicted = model.cost_of(stage("trial", **TRIAL))
    assert predicted.first_s == pytest.approx(3 + 200 * 0.5 + 20 * 2)
    assert predicted.source == "store" and model.knows(stage("trial", **TRIAL))
    assert not model.knows(stage("trial", **TRIAL | {"workload": "other"}))


def test_trials_here_say_more_of_a_trial_whatever_they_tried():
    known = [training(200, 1000, reached=True), trial(100, reached=True), trial(500, reached=False)]
    predicted = CostModel([*known, trial(0, reached=False)]).cost_of(stage("trial", **TRIAL))
    assert predicted.first_s == pytest.approx(3 + 300 * 0.5 + 30 * 2)  # one that was not needed aside
    assert not predicted.bound


def test_a_trial_of_which_only_a_probe_is_known_takes_its_budget_at_most():
    predicted = CostModel([], [training(20, 20, reached=False)]).cost_of(stage("trial", **TRIAL))
    assert predicted.bound and predicted.first_s == pytest.approx(3 + 1000 * 0.5 + 100 * 2)


def trial(steps: int, *, reached: bool) -> LaunchCost:
    known = training(steps, 1000, reached=reached)
    return replace(known, kind="trial", settings=TRIAL | {"optimizer": f"adam:lr=0.00{1 + steps}"})


def test_a_few_cold_steps_give_way_to_the_timing_of_the_step_itself():
    step = LaunchCost("step", TRAIN, 2.0, values={"step_latency_s": 0.1})
    model = CostModel([], [training(20, 20, reached=False, step_s=0.5), step])
    predicted = model.cost_of(stage("train", steps=1000, target=0.9))
    assert predicted.first_s == pytest.approx(3 + 1000 * 0.1 + 100 * 2)


def test_a_student_scales_with_its_own_budget_of_steps():
    probed = LaunchCost(
        "compress",
        TRAIN | {"technique": "distill:0.5", "recover_steps": 20, "student_steps": 20},
        3.0,
        values={"steps_trained": 20, "training_s": 2.0},
    )
    step = LaunchCost("step", TRAIN, 2.0, values={"step_latency_s": 0.1})
    asked = stage("compress", technique="distill:0.5", recover_steps=200, student_steps=900)
    assert CostModel([], [probed, step]).cost_of(asked).first_s == pytest.approx(1.0 + 900 * 0.1)


def test_recovery_scales_with_its_steps_and_knows_a_technique_whatever_its_settings():
    before = LaunchCost(
        "compress",
        TRAIN | {"technique": "prune-mean:1", "recover_steps": 20},
        3.0,
        values={"steps_trained": 20, "training_s": 2.0},
    )
    step = LaunchCost("step", TRAIN, 2.0, values={"step_latency_s": 0.1})
    asked = stage("compress", technique="prune-mean:0.5", recover_steps=200)
    predicted = CostModel([before, step]).cost_of(asked)
    assert (predicted.source, predicted.first_s) == ("store", pytest.approx(1.0 + 200 * 0.1))


def test_what_this_folder_knows_goes_before_probes_and_the_median_of_several_counts():
    stored = [cost("lower", seconds) for seconds in (4.0, 5.0, 90.0)]
    model = CostModel(stored, [cost("lower", 1.0)])
    assert (model.cost_of(stage("lower")).first_s, model.cost_of(stage("lower")).source) == (5.0, "store")


@pytest.mark.parametrize(
    ("asked", "source", "seconds"),
    [
        (stage("lower", backend="new"), "kin", 4.0),
        (stage("compress", technique="new:1", recover_steps=5), "kin", 7.0),
        (stage("teach"), "guess", 5.0),
    ],
)
def test_what_was_never_seen_goes_by_its_kind_and_fails_nowhere(asked, source, seconds):
    model = CostModel([cost("lower", 4.0), cost("compress", 7.0, technique="finetune")])
    predicted = model.cost_of(asked)
    assert (predicted.source, predicted.first_s) == (source, seconds)


def test_a_smoke_run_says_nothing_of_a_whole_one():
    model = CostModel([cost("evaluate", 0.1, test_samples=64)])
    assert model.cost_of(stage("evaluate")).source == "guess"


@pytest.mark.parametrize(("most", "launches"), [(1, 1), (3, 3), (6, 4.5), (10, 6), (20, 8)])
def test_launches_never_counted_are_the_middle_of_what_the_budget_allows(most, launches):
    model = CostModel([], [cost("infer", 1.0)], most)
    assert model.cost_of(stage("infer")).launches == launches


def test_a_timed_stage_costs_its_first_launch_and_the_later_ones_as_many_as_before():
    known = [
        LaunchCost("infer", LOWERED | {"sample_s": 0.4}, 2.0 if round_ == 0 else 1.0, round_, 3)
        for round_ in range(3)
    ]
    predicted = CostModel(known, (), 10).cost_of(stage("infer", sample_s=0.9))
    assert (predicted.first_s, predicted.later_s, predicted.launches) == (2.5, 1.5, 3)
    assert predicted.wall_s() == pytest.approx(5.5)
    assert predicted.wall_s(done=2) == pytest.approx(1.5)


def test_a_class_never_seen_here_costs_what_the_reference_says_before_a_relative_does():
    reference = [cost("lower", 2.0), cost("lower", 3.0, backend="c"), cost("lower", 5.0, workload="v")]
    model = CostModel([cost("lower", 90.0, backend="d")], (), 1, reference)
    found = [
        (predicted.source, predicted.first_s)
        for predicted in (
            model.cost_of(stage("lower")),
            model.cost_of(stage("lower", "other workload", workload="new", backend="c")),
            model.cost_of(stage("lower", "all new", workload="new", backend="new")),
        )
    ]
    assert found == [("reference", 2.0), ("near", 3.0), ("near", 3.0)]


def test_a_training_that_is_evaluated_more_often_takes_as_much_longer():
    spent = {"steps_trained": 100.0, "training_s": 1.0, "evaluation_s": 2.0, "curve_step": 10.0}
    values = {**spent, "evaluation_period": 10.0, "target_reached": 1.0}
    asked = {"workload": "digits", "steps": 100, "target": 0.9, "stops_at_target": True}
    usual = WORKLOADS.get("digits").evaluations_per_epoch
    for known in ({}, {"evaluations_per_epoch": usual}):  # a reference says only what is not usual
        model = CostModel([LaunchCost("train", TRAIN | asked | known, 3.0, values=values)])
        for times in (1, 3):
            often = stage("train", f"{times}", **asked, evaluations_per_epoch=times * usual)
            assert model.cost_of(often).first_s == pytest.approx(1.0 + times * 2.0)


def test_an_unknown_training_costs_what_its_workload_says_before_its_optimizer_does():
    reference = [
        LaunchCost("train", TRAIN | {"workload": name, "optimizer": optimizer}, seconds)
        for name, optimizer, seconds in (
            ("small", "adam", 0.3),
            ("large", "adam", 60.0),
            ("large", "sgd", 50.0),
        )
    ]
    model = CostModel((), (), 1, reference)
    assert model.cost_of(stage("train", workload="small", optimizer="sgd")).first_s == 0.3
    assert model.cost_of(stage("train", "another", workload="new", optimizer="sgd")).first_s == 50.0


def test_launches_here_tell_the_speed_of_a_machine_better_than_its_calibration():
    reference = [cost("lower", 2.0, backend=name) for name in "abcd"] + [cost("evaluate", 2.0)]
    model = CostModel((), (), 1, reference)
    for number, name in enumerate("abc"):
        assert model.cost_of(stage("lower", backend="d")).first_s == 2.0, number
        model.learn(cost("lower", 6.0, backend=name))
    assert model.cost_of(stage("lower", backend="d")).first_s == 6.0
    assert model.cost_of(stage("evaluate")).first_s == 2.0


def test_launches_that_the_reference_needed_are_expected_here_as_far_as_the_budget_allows():
    reference = [LaunchCost("infer", LOWERED, 1.0, launches=6)]
    assert CostModel((), (), 10, reference).cost_of(stage("infer")).launches == 6
    assert CostModel((), (), 3, reference).cost_of(stage("infer")).launches == 3


def test_a_model_that_was_given_is_guessed_to_take_what_its_files_do(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.bin").write_bytes(bytes(5_000_000))
    (tmp_path / "model.onnx").write_bytes(bytes(7_000_000))
    for workload, size in (
        (f"huggingface:{tmp_path / 'weights'}", 5_000_000),
        (f"onnx:{tmp_path / 'model.onnx'}", 7_000_000),
        (f"onnx:{tmp_path / 'none.onnx'}", 300_000),
    ):
        assert CostModel([]).cost_of(stage("lower", workload=workload)).artifact_bytes == size
