"""How trials are planned: once for all that they tune, the same number for every optimizer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.analysis.tuning import EXTENSIONS
from bench.costs import guessed_s
from bench.matrix.cells import Matrix
from bench.matrix.reading import read_matrix
from bench.plan.names import varying_axes
from bench.plan.planner import Plan, make_plan
from bench.plan.shards import Shard, shard_of
from bench.results.store import StageRow

TEXT = """
[train]
workload = "digits"
optimizer = {optimizers}
seed = [0, 1, 2]
tuning = {tuning}

[infer]
compression = "none"
backend = "cpu-eager"
"""


def read(folder: Path, tuning: str, optimizers: str = '["adam", "sgd"]') -> Matrix:
    file = folder / "mine.toml"
    file.write_text(TEXT.format(tuning=tuning, optimizers=optimizers))
    return read_matrix(str(file))


def planned(folder: Path, tuning: str, optimizers: str = '["adam", "sgd"]', *, smoke: bool = False) -> Plan:
    return make_plan(read(folder, tuning, optimizers), cpus=2, smoke=smoke)


def named(stages: list[StageRow], name: str) -> list[StageRow]:
    """Return the stages of an optimizer, whatever its settings."""
    return [stage for stage in stages if str(stage.request.settings["optimizer"]).split(":")[0] == name]


def first_trials(plan: Plan, name: str) -> list[StageRow]:
    return [one for one in named(plan.of_kind("trial"), name) if not one.request.settings["extension"]]


def test_every_optimizer_has_the_same_number_of_trials_which_its_seeds_share(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{ trials = 6 }", '["adam", "sgd", "muon", "sophia"]')
    for name in ("adam", "sgd", "muon", "sophia"):
        trials = named(plan.of_kind("trial"), name)
        assert len(first_trials(plan, name)) == 6 and len(trials) == 6 + EXTENSIONS
        for training in named(plan.of_kind("train"), name):
            assert list(training.parents) == [trial.key for trial in trials]
    assert len(plan.of_kind("train")) == 4 * 3


def test_trials_differ_in_nothing_but_the_settings_that_are_searched(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{ trials = 6 }")
    trials = [dict(stage.request.settings) for stage in first_trials(plan, "adam")]
    tried = [(settings.pop("optimizer"), settings.pop("optimizer_settings")["lr"]) for settings in trials]
    assert len(set(tried)) == 6
    assert [settings.pop("number") for settings in trials] == [1, 2, 3, 4, 5, 6]
    assert all(settings == trials[0] for settings in trials)
    assert trials[0]["searched"] == ("lr",)
    (seed,) = {settings["seed"] for settings in trials}
    training = named(plan.of_kind("train"), "adam")[0].request.settings
    assert seed not in (0, 1, 2)
    own = ("seed", "optimizer", "optimizer_settings")
    assert {name: training[name] for name in training if name not in own}.items() <= trials[0].items()


def test_smaller_numbers_of_trials_are_the_first_of_larger_ones(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{ trials = 8, at = [3, 5, 8] }", '"adam"')
    assert len(first_trials(plan, "adam")) == 8
    counts = Counter(len(training.parents) for training in plan.of_kind("train"))
    assert counts == {3 + EXTENSIONS: 3, 5 + EXTENSIONS: 3, 8 + EXTENSIONS: 3}
    alone = planned(tmp_path, "{ trials = 3 }", '"adam"')
    assert {trial.key for trial in alone.of_kind("trial")} <= set(plan.stages)
    other = planned(tmp_path, "{ trials = 3, trial_seed = 1 }", '"adam"')
    assert not {trial.key for trial in other.of_kind("trial")} & set(plan.stages)


def test_a_trial_beyond_the_edge_goes_by_all_before_it(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{ trials = 3 }", '"adam"')
    *trials, first, second = plan.of_kind("trial")
    assert all(not trial.parents for trial in trials)
    assert list(first.parents) == [trial.key for trial in trials]
    assert list(second.parents) == [*first.parents, first.key]
    assert second.request.parents["trial 4"] == first.key


def test_parents_come_before_their_children_and_kinds_are_counted(tmp_path: Path) -> None:
    plan = planned(tmp_path, '["fixed", { trials = 4, at = [2, 4] }]')
    seen: set[str] = set()
    for stage in plan.stages.values():
        assert set(stage.parents) <= seen
        seen.add(stage.key)
    assert len(plan.of_kind("trial")) == 2 * (4 + 2 * EXTENSIONS)
    assert len(plan.of_kind("train")) == 2 * 3 * 3


def test_defaults_are_the_settings_of_the_row_and_have_no_trials(
    tmp_path: Path,
) -> None:
    fixed, defaults = (planned(tmp_path, f'"{tuning}"') for tuning in ("fixed", "defaults"))
    assert not fixed.of_kind("trial")
    assert list(fixed.stages) == list(defaults.stages)
    assert [cell.axes["tuning"] for cell in defaults.cells] == ["defaults"] * 6


def test_a_step_is_timed_once_for_all_that_an_optimizer_is_tuned_to(tmp_path: Path) -> None:
    plan = planned(tmp_path, '["fixed", { trials = 4, at = [2, 4] }]')
    assert len(plan.of_kind("step")) == 2


def test_a_step_is_timed_once_for_all_rates_of_an_optimizer(tmp_path: Path) -> None:
    optimizers = '["adam", "adam:lr=0.01", "adam:eps=1e-07,lr=0.1", "sgd:lr=0.5"]'
    plan = planned(tmp_path, '"fixed"', optimizers)
    steps = {
        stage.label: stage.request.settings["optimizer_settings"]["lr"] for stage in plan.of_kind("step")
    }
    assert steps == {"digits adam step": 0.001, "digits adam:eps=1e-07 step": 0.001, "digits sgd step": 0.2}


def test_trainings_that_are_tuned_otherwise_have_other_names(tmp_path: Path) -> None:
    plan = planned(tmp_path, '["fixed", { trials = 4, at = [2, 4] }]', '"adam"')
    labels = [stage.label for stage in plan.of_kind("train")]
    assert len(set(labels)) == 9
    assert {"digits adam", "digits adam trials:2", "digits adam trials:4 seed 2"} <= set(labels)
    assert len({cell.name for cell in plan.cells}) == len(plan.cells)
    assert len({stage.label for stage in plan.of_kind("trial")}) == len(plan.of_kind("trial"))


@pytest.mark.parametrize(
    ("optimizer", "why"),
    [("adam:lr=0.01", "adam:lr=0.01: nothing to tune: the matrix writes lr, all that it is searched in")],
)
def test_an_optimizer_with_nothing_to_tune_is_left_out_with_the_reason(
    tmp_path: Path, optimizer: str, why: str
) -> None:
    plan = planned(tmp_path, "{ trials = 4 }", f'["{optimizer}", "adamw:lr=0.01"]')
    assert {cell.skipped for cell in plan.cells} == {why, ""}
    assert len(plan.of_kind("trial")) == 4 + EXTENSIONS  # of the weight decay


def test_a_smoke_run_has_few_trials_of_few_steps(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{ trials = 20, at = [5, 20] }", '"adam"', smoke=True)
    assert len(first_trials(plan, "adam")) == 2
    assert {trial.request.settings["steps"] for trial in plan.of_kind("trial")} == {2}


def test_no_trial_is_made_in_two_shards_and_every_cell_is_in_one(tmp_path: Path) -> None:
    matrix = read(tmp_path, '["fixed", { trials = 4, at = [2, 4] }]', '["adam", "sgd", "rmsprop"]')
    whole = make_plan(matrix, cpus=2)
    seconds = dict.fromkeys(whole.stages, 1.0)  # as long for each optimizer, so that each part gets one
    parts = [shard_of(matrix, whole, Shard(number, 3), seconds)[0] for number in (1, 2, 3)]
    assert sorted(str(cell) for part in parts for cell in part.cells) == sorted(map(str, matrix.cells))
    plans = [make_plan(part, cpus=2, varying=varying_axes(matrix.cells)) for part in parts]
    trials = [trial.key for plan in plans for trial in plan.of_kind("trial")]
    assert sorted(trials) == sorted(trial.key for trial in whole.of_kind("trial"))
    assert all(plan.of_kind("trial") for plan in plans)


def test_a_trial_is_predicted_as_a_training_of_its_optimizer(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{ trials = 4 }", '"adam"')
    seconds = guessed_s(plan.stages.values(), 3)
    trials = {round(seconds[trial.key], 6) for trial in plan.of_kind("trial")}
    (trial,) = trials
    training = seconds[plan.of_kind("train")[0].key]
    assert 0.3 * training <= trial <= 3 * training
