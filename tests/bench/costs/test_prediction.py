"""Predictions: known answers of the cost model, and a matrix that is probed, run and held against it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.costs import CostModel, Estimator, Progress
from bench.costs.comparison import OVERHEAD, WHOLE, compare
from bench.costs.probed import keep_probes, read_probes
from bench.costs.rates import Rates
from bench.costs.timeline import HANDOVER, RUNNER
from bench.matrix.reading import read_matrix
from bench.plan.planner import make_plan
from bench.records import PlannedRequest, Result
from bench.results.store import CellRow, LaunchCost, StageRow, Store

MATRIX = Path(__file__).with_name("small.toml")
TRAIN = {"workload": "w", "optimizer": "adam", "backend": "b", "precision": "fp32", "batch_size": 8}
LOWERED = {"workload": "w", "backend": "b", "precision": "fp32", "batch_size": 1, "format": None}
FREE = Rates(0, 0, 0, 0, 0, 0, 0, 0)


def stage(kind: str, label: str = "", **settings: Any) -> StageRow:
    base = TRAIN if kind in ("train", "step", "compress") else LOWERED
    timed = kind in ("step", "infer")
    request = PlannedRequest(base | settings)
    return StageRow(label or kind, kind, label or kind, timed, (), request)


def cost(kind: str, wall_s: float, **settings: Any) -> LaunchCost:
    return LaunchCost(kind, stage(kind, **settings).request.settings, wall_s)


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


def test_timed_launches_end_with_their_workloads_budget_and_what_has_no_room_is_left_out():
    known = [LaunchCost("infer", LOWERED, 2.0, launches=10)]
    stages = [stage("infer", name) for name in "ab"]

    def predicted(budget_s: float | None, launched: dict[str, int] | None = None) -> tuple[float, float]:
        estimator = Estimator(CostModel(known, (), 10), FREE, slots=1, budget_s=budget_s)
        prediction = estimator.predict(stages, Progress(launches=launched))
        assert estimator.rest_s(stages, launched or {}) == pytest.approx(prediction.wall_s)
        return prediction.wall_s, prediction.kinds["infer"].launches

    assert predicted(None) == (40.0, 20)
    assert predicted(100.0) == (40.0, 20)
    assert predicted(20.0) == (20.0, 10)
    assert predicted(1.0) == (1.0, 2)
    assert predicted(20.0, {"a": 4, "b": 4}) == (4.0, 2)


def test_what_else_a_workload_needs_comes_off_its_budget_but_for_training():
    known = [LaunchCost("infer", LOWERED, 2.0, launches=10), cost("lower", 8.0), cost("train", 100.0)]
    stages = [stage("train"), stage("lower"), stage("infer")]
    prediction = Estimator(CostModel(known, (), 10), FREE, slots=2, budget_s=15.0).predict(stages, Progress())
    assert prediction.wall_s == 100.0 + 8.0 / 2 + 11.0


def test_nodes_share_the_work():
    model = CostModel([cost("lower", 4.0), cost("train", 7.0)])
    estimator = Estimator(model, FREE, slots=2, nodes=2)
    assert estimator.predict([stage("lower"), stage("train")], Progress()).wall_s == 1.0 + 3.5


def test_kinds_that_share_the_cores_count_by_the_core_and_the_rest_whole():
    model = CostModel([cost("lower", 4.0), cost("train", 7.0)])
    estimator = Estimator(model, FREE, slots=2)
    stages = [stage("lower", "a"), stage("lower", "b"), stage("train")]
    prediction = estimator.predict(stages, Progress())
    assert prediction.kinds["lower"].wall_s == 8.0
    assert prediction.wall_s == 4.0 + 7.0
    assert estimator.rest_s(stages[1:], {}) == 2.0 + 7.0


def test_what_has_ended_or_is_reused_is_not_predicted_but_counted():
    estimator = Estimator(CostModel([cost("lower", 4.0)]), FREE, slots=1)
    stages = [stage("lower", name) for name in "abc"]
    prediction = estimator.predict(stages, Progress(ended={"a"}, present={"a", "b"}))
    assert (prediction.wall_s, prediction.ended, prediction.reused) == (4.0, 1, 1)
    kept = json.loads(json.dumps(prediction.as_document()))
    assert kept["stages"] == [None, None, 0]


def test_what_ends_is_learnt_from():
    estimator = Estimator(CostModel([], [cost("lower", 100.0)]), FREE, slots=1)
    estimator.learn(stage("lower", "a"), 0, Result("ok", wall_s=3.0))
    assert estimator.rest_s([stage("lower", "b")], {}) == 3.0


def test_probes_are_kept_for_the_next_folder_and_not_for_another_number_of_cores(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    stages = list(make_plan(read_matrix("ci"), cpus=2).stages.values())
    settings = stages[0].request.settings | {"steps": 20}
    keep_probes(stages, 2, [LaunchCost("train", settings, 1.5)], Rates(server_s=9.0))
    costs, rates = read_probes(stages, 2)
    assert [entry.wall_s for entry in costs] == [1.5]
    assert rates is not None and rates.server_s == 9.0
    assert read_probes(stages, 64) == ([], None)
    (path,) = tmp_path.rglob("probes.json")
    whole = path.read_text()
    for damaged in (
        "[]",
        "{",
        whole.replace("1.5", '"long"'),
        whole.replace('"kind"', '"sort"'),
        "[" * 10_000,
    ):
        path.write_text(damaged)
        assert read_probes(stages, 2) == ([], None)


def test_predicted_is_held_against_taken_for_each_kind_and_the_whole(tmp_path):
    store = Store.open(tmp_path)
    stages = [stage("lower", "a"), stage("lower", "b"), stage("lower", "c")]
    store.start_run("r", "i", "m", "command", {"smoke": False}, stages, [CellRow("cell", {}, {})])
    estimator = Estimator(CostModel([cost("lower", 4.0)]), FREE, slots=2)
    prediction = estimator.predict(stages, Progress(present={"c"}))
    before = {"launches": 0, "overheads": {}}
    store.keep_prediction("r", {**prediction.as_document(), "before": before, "grown": {"store": 100}})
    assert store.run("r")["request"]["smoke"] is False
    for row, wall_s in zip(stages, (5.0, 3.2), strict=False):
        store.add_launch("r", row, 0, Result("ok", start_s=100, wall_s=wall_s, body_s=wall_s))
    store.add_launch("r", stages[2], 0, Result("ok"), reused=True)
    store.add_overhead("r", RUNNER, 1.0)
    store.add_overhead("r", HANDOVER, 0.5)
    comparison = compare(store, "r")
    assert comparison is not None
    rows = {row.part: row for row in comparison.rows}
    assert (rows["lower"].stages, rows["lower"].predicted_s, rows["lower"].taken_s) == (2, 8.0, 8.2)
    assert rows["lower"].stage_errors == pytest.approx((0.2, 0.25))
    assert comparison.median_error == pytest.approx(0.225)
    assert rows[OVERHEAD].taken_s == 1.0
    assert (rows[WHOLE].predicted_s, rows[WHOLE].taken_s) == (4.0, 5.0 + 1.5)
    assert comparison.reused == 1


def test_a_run_that_went_on_is_held_against_what_it_predicted_when_it_went_on(tmp_path):
    store = Store.open(tmp_path)
    stages = [stage("lower", "a"), stage("lower", "b")]
    store.start_run("r", "i", "m", "command", {}, stages, [])
    store.add_launch("r", stages[0], 0, Result("ok", start_s=10, wall_s=50, body_s=50))
    store.add_overhead("r", RUNNER, 7.0)
    estimator = Estimator(CostModel([cost("lower", 4.0)]), FREE, slots=1)
    prediction = estimator.predict(stages, Progress(ended={"a"}))
    before = {"launches": 1, "overheads": store.overheads("r")}
    store.keep_prediction("r", {**prediction.as_document(), "before": before})
    store.add_launch("r", stages[1], 0, Result("ok", start_s=900, wall_s=5, body_s=5))
    store.add_overhead("r", RUNNER, 1.0)
    comparison = compare(store, "r")
    assert comparison is not None and comparison.ended == 1
    assert (comparison.rows[-1].predicted_s, comparison.rows[-1].taken_s) == (4.0, 5.0 + 1.0)


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


def test_a_run_without_a_prediction_has_nothing_to_compare(tmp_path):
    store = Store.open(tmp_path)
    store.start_run("r", "i", "m", "command", {}, [], [])
    assert compare(store, "r") is None


@pytest.fixture(scope="module")
def probed(bench, tmp_path_factory):
    """A small run: its dry run in an empty folder, then itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        results = tmp_path_factory.mktemp("none") / "results"
        words = ["run", "--matrix", MATRIX, "--filter", "backend=cpu-eager"]
        words += ["--results", results]
        dry = bench(*words, "--dry-run", "--probe")
        made = results.exists()
        done = bench(*words)
        yield dry, made, done, results, words
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_dry_run_that_probes_measures_what_it_does_not_know_and_makes_no_results(probed):
    dry, made, *_ = probed
    assert dry.returncode == 0, dry.stderr
    assert not made
    assert "one measured probe of their class" in dry.stdout and "guess" not in dry.stdout
    assert re.search(r"estimated time: \d+:\d\d from start to end", dry.stdout)
    assert "estimated disk" in dry.stdout


@pytest.mark.slow
def test_a_run_predicts_itself_from_the_probes_and_reports_how_far_off_it_was(probed):
    _, _, done, results, _ = probed
    assert re.search(r"predicted: \d+:\d\d,", done.stderr)
    assert "Predicted vs actual" in done.stdout
    store = Store.open(results, create=False)
    run_id = store.find_run(None)
    comparison = compare(store, run_id)
    assert comparison is not None and comparison.rows[-1].taken_s is not None
    # Ceilings hold for a day: the run takes them over from the probe, unless that was disturbed.
    assert comparison.compared_stages + comparison.reused == len(store.stages(run_id))
    assert comparison.reused <= 1
    folder = results / run_id
    assert (folder / "tables" / "estimate.csv").read_text().startswith("part,stages,predicted_s,taken_s")
    for name in ("report.md", "report.html"):
        assert "Predicted vs actual" in (folder / name).read_text()
        assert "probe" in (folder / name).read_text()


@pytest.mark.slow
def test_a_dry_run_of_a_known_folder_changes_nothing_and_tells_what_is_there(bench, probed):
    _, _, _, results, words = probed
    before = _contents(results)
    dry = bench(*words, "--dry-run")
    assert _contents(results) == before
    assert "launches of their class in this results folder" in dry.stdout
    assert re.search(r"[45] stages with reusable artifacts", dry.stdout)  # the fifth are ceilings
    assert "measuring" not in dry.stderr


@pytest.mark.slow
def test_only_what_is_new_is_measured(bench, probed, tmp_path):
    _, _, _, _, words = probed
    text = Path(MATRIX).read_text()
    (tmp_path / "other.toml").write_text(text.replace("adam", "momentum"))
    other = [tmp_path / "other.toml" if word == MATRIX else word for word in words]
    dry = bench(*other, "--dry-run", "--probe")
    assert dry.returncode == 0, dry.stderr
    assert "measuring 2 kinds" in dry.stderr  # the training and the step of another optimizer
    assert "guess" not in dry.stdout


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
