"""Trials of settings, made for real on small data, and what the training that they tune makes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.analysis.tuning import FACTOR, PRUNED_AT, Ended, Trial
from bench.errors import Diverged, StageError
from bench.execution.worker import classify
from bench.models.trials import read_chosen, read_trials, save_chosen, save_trial
from bench.records import Measurement
from bench.results.artifacts import artifact_folder
from bench.stages import compress, train, trial
from tests.support.stage_requests import request_of

STEPS = 40
SETTINGS: dict[str, Any] = {
    **{"optimizer": "adam", "batch_size": 32, "steps": STEPS, "target": 0.6, "evaluations_per_epoch": 11},
    **{"seed": 7, "searched": ("lr",), "number": 1},
}
OF_TRAINING = {name: SETTINGS[name] for name in SETTINGS if name not in ("searched", "number")} | {"steps": 8}
KEY = "f" * 64


def key_of(number: int) -> str:
    return f"{number:064x}"


def plant(results: Path, *trials: Trial) -> dict[str, str]:
    """Leave trials as their stages do; return the parents of a stage that goes by them."""
    for each in trials:
        folder = artifact_folder(results, key_of(each.number))
        folder.mkdir(parents=True)
        save_trial(folder, each)
    return {f"trial {each.number}": key_of(each.number) for each in trials}


def tried(number: int, lr: float, steps: float | None, ended: Ended = "reached") -> Trial:
    return Trial(number, {"lr": lr}, ended if steps else "budget", "", steps, 0.9 if steps else 0.5)


def attempt(
    results: Path, parents: dict[str, str] | None = None, smoke: bool = False, **settings: Any
) -> tuple[Trial, dict[str, Measurement]]:
    """Run a trial; return what it leaves, and what it measured by metric."""
    folder = artifact_folder(results, KEY)
    folder.mkdir(parents=True, exist_ok=True)
    request = request_of("trial", results, SETTINGS | settings, key=KEY, parents=parents or {})
    request = replace(request, smoke=smoke)
    measured = trial.run(request, folder)
    (left,) = read_trials([folder])
    return left, by_metric(measured)


def by_metric(measured: list[Measurement]) -> dict[str, Measurement]:
    return {entry.metric + (f" {entry.qualifier}" if entry.qualifier else ""): entry for entry in measured}


def test_a_trial_stops_at_the_target_and_leaves_what_it_took(tmp_path: Path) -> None:
    left, found = attempt(tmp_path, optimizer="adam:lr=0.003")
    assert (left.ended, left.settings, left.made) == ("reached", {"lr": 0.003}, True)
    assert found["target_reached"].value == 1 and found["steps_trained"].value < STEPS
    on_grid = found["steps_to_target_on_grid"].value
    assert on_grid - found["evaluation_period"].value < left.steps_to_target <= on_grid
    assert left.steps_to_target == found["steps_to_target"].value
    assert left.quality == found["trial_quality"].value >= 0.6
    assert (found["trial_made"].value, found["trial_made"].method) == (1, "adam:lr=0.003")
    assert found["trial_setting lr"].value == 0.003
    assert found["trial_pruned"].value == found["trial_lost"].value == 0
    assert found["training_s"].value > 0 and found["evaluation_s"].value > 0


def test_the_same_trial_finds_the_same(tmp_path: Path) -> None:
    results = [attempt(tmp_path / name, optimizer="adam:lr=0.003")[0] for name in ("one", "other")]
    assert results[0] == results[1]
    assert attempt(tmp_path / "third", optimizer="adam:lr=0.003", seed=8)[0] != results[0]


def test_a_trial_that_leads_nowhere_is_pruned_at_half_of_its_steps(tmp_path: Path) -> None:
    left, found = attempt(tmp_path, optimizer="adam:lr=1e-08")
    assert left.ended == "pruned" and left.steps_to_target is None
    assert found["trial_pruned"].value == 1 and "25% of the way" in found["trial_pruned"].method
    period = found["evaluation_period"].value
    assert PRUNED_AT * STEPS <= found["steps_trained"].value < PRUNED_AT * STEPS + period


def test_a_trial_on_its_way_spends_its_budget(tmp_path: Path) -> None:
    left, found = attempt(tmp_path, optimizer="adam:lr=0.003", target=1.0)
    assert (left.ended, left.steps_to_target) == ("budget", None)
    assert found["steps_trained"].value == STEPS


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_trial_that_diverges_is_a_finding_and_no_failure(tmp_path: Path, rate: float) -> None:
    left, found = attempt(tmp_path, optimizer=f"sgd:lr={rate:g}")
    assert left.ended == "diverged" and left.steps_to_target is None
    assert found["trial_lost"].value == 1 and "diverged: " in found["trial_lost"].method
    assert 0 < found["steps_trained"].value <= STEPS and found["target_reached"].value == 0


def test_a_smoke_run_of_a_trial_loses_only_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    ended = [
        attempt(tmp_path, optimizer=f"sgd:lr={rate:g}", steps=3, smoke=smoke)[0].ended
        for rate, smoke in ((100, False), (100, True), (1e30, True))
    ]
    assert ended == ["diverged", "budget", "diverged"]


def test_linear_algebra_that_fails_loses_the_trial_alone(tmp_path: Path, monkeypatch: Any) -> None:
    def fails(*_: object, **__: object) -> None:
        raise torch.linalg.LinAlgError("linalg.eigh: the algorithm failed to converge\nand more")

    monkeypatch.setattr("bench.models.training.Trainer.train", fails)
    left, found = attempt(tmp_path)
    assert (left.ended, left.reason) == ("failed", "linalg.eigh: the algorithm failed to converge")
    assert found["trial_lost"].value == 1 and found["steps_trained"].value == 0


def test_a_lack_of_memory_is_a_failure_of_the_stage(tmp_path: Path, monkeypatch: Any) -> None:
    def lacks(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("bench.models.training.Trainer.train", lacks)
    with pytest.raises(RuntimeError) as raised:
        attempt(tmp_path)
    assert classify(raised.value)[0] == "oom"


@pytest.mark.parametrize(("best", "beyond"), [(0.001, 0.001 / FACTOR), (0.03, 0.03 * FACTOR)])
def test_a_best_rate_at_the_edge_is_followed_by_one_beyond(
    tmp_path: Path, best: float, beyond: float
) -> None:
    rates = (0.001, 0.006, 0.03)
    parents = plant(tmp_path, *(tried(n, lr, 10 if lr == best else 30) for n, lr in enumerate(rates, 1)))
    left, found = attempt(tmp_path, parents, number=4, extension=1, steps=8)
    assert left.made and left.number == 4
    assert left.settings["lr"] == pytest.approx(beyond, rel=1e-3)
    assert found["trial_setting lr"].value == left.settings["lr"] and found["steps_trained"].value > 0


def test_no_trial_beyond_is_needed_where_the_best_rate_lies_between_others(
    tmp_path: Path,
) -> None:
    parents = plant(tmp_path, tried(1, 0.001, 30), tried(2, 0.006, 10), tried(3, 0.03, 30))
    left, found = attempt(tmp_path, parents, number=4, extension=1)
    assert (left.ended, left.made, left.steps_to_target) == ("not needed", False, None)
    assert "trial 2, the best, has a rate between others" in found["trial_made"].method
    assert [found[name].value for name in ("trial_made", "steps_trained", "training_s", "evaluation_s")] == [
        0
    ] * 4


def test_the_second_trial_beyond_goes_by_the_first(tmp_path: Path) -> None:
    first = Trial(4, ended="not needed", reason="")
    parents = plant(tmp_path, tried(1, 0.001, 30), tried(2, 0.006, 10), tried(3, 0.03, 30), first)
    assert not attempt(tmp_path, parents, number=5, extension=2)[0].made
    better = plant(tmp_path / "on", tried(1, 0.001, 30), tried(2, 0.006, 20), tried(3, 0.018, 10))
    left, _ = attempt(tmp_path / "on", better, number=4, extension=2, steps=8)
    assert left.settings["lr"] == pytest.approx(0.054)


def tune(results: Path, *trials: Trial, **settings: Any) -> tuple[Path, dict[str, Measurement]]:
    """Train with the best of these trials; return the artifact's folder and what was measured."""
    folder = artifact_folder(results, KEY)
    folder.mkdir(parents=True)
    request = request_of("train", results, OF_TRAINING | settings, parents=plant(results, *trials))
    return folder, by_metric(train.run(request, folder))


def test_a_training_has_the_settings_of_the_best_trial_and_puts_them_on_record(tmp_path: Path) -> None:
    trials = (tried(1, 0.001, 30), tried(2, 0.006, 10), tried(3, 0.03, 20), tried(4, 0.3, None))
    folder, found = tune(tmp_path, *trials)
    assert read_chosen(folder) == "adam:lr=0.006"
    assert (found["tuned_setting lr"].value, found["tuned_setting lr"].method) == (0.006, "trial 2 of 4")
    assert (found["tuned_trial"].value, found["tuning_trials"].value) == (2, 4)
    assert found["tuning_trials_reached"].value == 3 and found["rate_at_edge"].value == 0
    written = request_of("train", tmp_path, OF_TRAINING | {"optimizer": "adam:lr=0.006"})
    assert by_metric(train.run(written, tmp_path))["curve_loss"].samples == found["curve_loss"].samples


def test_a_rate_that_is_still_at_the_edge_is_flagged(tmp_path: Path) -> None:
    trials = (tried(1, 0.001, 30), tried(2, 0.006, 20), Trial(3, {"lr": 0.03}, "diverged", "nan"))
    _, found = tune(tmp_path / "inside", *trials)
    assert found["rate_at_edge"].value == 0  # what diverged was tried
    _, found = tune(tmp_path / "edge", *trials[:2])
    assert found["rate_at_edge"].value == 1 and found["rate_at_edge"].method == "no trial had a higher rate"


def test_settings_that_are_written_stay_as_they_are(tmp_path: Path) -> None:
    folder, _ = tune(tmp_path, tried(1, 0.001, 30), tried(2, 0.006, 10), optimizer="adam:eps=1e-06")
    assert read_chosen(folder) == "adam:lr=0.006,eps=1e-06"


def test_a_training_whose_trials_all_diverged_has_diverged_too(tmp_path: Path) -> None:
    lost = [Trial(n, {"lr": 10.0 * n}, "diverged", f"loss is nan at step {n}") for n in (1, 2)]
    with pytest.raises(Diverged, match="all 2 trials diverged or failed; the first: loss is nan at step 1"):
        tune(tmp_path / "diverged", *lost)
    with pytest.raises(StageError, match="all 2 trials"):
        tune(tmp_path / "failed", lost[0], replace(lost[1], ended="failed"))


def test_a_damaged_trial_is_an_error_that_names_it(tmp_path: Path) -> None:
    parents = plant(tmp_path, tried(1, 0.1, 30))
    (artifact_folder(tmp_path, parents["trial 1"]) / "trial.json").write_text('{"number": "first"}')
    with pytest.raises(StageError, match=r"0000: its trial.json is damaged"):
        attempt(tmp_path, parents, number=2, extension=1)


def test_a_compression_recovers_with_the_settings_that_its_model_was_tuned_to(
    tmp_path: Path, monkeypatch: Any
) -> None:
    folder, _ = tune(tmp_path, tried(1, 0.001, 30), tried(2, 0.006, 10))
    seen = []
    made = compress.make_trainer

    def make_trainer(settings: Any, *arguments: Any) -> Any:
        seen.append((settings.optimizer.text, settings.optimizer_settings["lr"]))
        return made(settings, *arguments)

    monkeypatch.setattr(compress, "make_trainer", make_trainer)
    own = artifact_folder(tmp_path, "e" * 64)
    own.mkdir(parents=True)
    asked = {"optimizer": "adam", "batch_size": 32, "technique": "finetune", "recover_steps": 2}
    compress.run(request_of("compress", tmp_path, asked, parents={"model": KEY}), own)
    assert seen == [("adam:lr=0.006", 0.006)]
    assert read_chosen(own) == "adam:lr=0.006"  # for the next step of the recipe
    assert folder != own


def test_a_model_that_was_not_tuned_says_nothing_of_an_optimizer(tmp_path: Path) -> None:
    assert read_chosen(tmp_path) is None
    save_chosen(tmp_path, "adam")
    assert read_chosen(tmp_path) == "adam"
    (tmp_path / "optimizer.json").write_text("[]")
    with pytest.raises(StageError, match="damaged"):
        read_chosen(tmp_path)
