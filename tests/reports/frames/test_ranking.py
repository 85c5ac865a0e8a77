"""Optimizers are ranked by what their seeds needed; who missed the target takes part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.records import Measurement, Result
from reports.frames.ranking import Ranking, rank
from reports.frames.view import RunView, read, records
from reports.grids.ranking import MAX_PAIRS, ranking_grids
from tests.support.trainings import DIVERGED, build_trainings, trained

FIVE = (500.0, 520.0, 490.0, 505.0, 515.0)
NEVER = 1e6


def view_of(folder: Path, needed: dict[str, Any], **made_up: Any) -> RunView:
    store = build_trainings(folder, needed, made_up)
    view = read(store, "run-1")
    store.close()
    return view


def slower(factor: float) -> tuple[float, ...]:
    return tuple(factor * needed for needed in FIVE)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Ranking:
    """Two workloads, on which momentum is first, adam about as fast, and sgd far behind or never there."""
    close = (560.0, 460.0, 530.0, 490.0, 520.0)
    needed = {
        "digits/sgd": slower(2),
        "digits/adam": close,
        "digits/momentum": FIVE,
        "letters/sgd": (*slower(2)[:3], NEVER, DIVERGED),
        "letters/adam": close,
        "letters/momentum": FIVE,
    }
    return rank(view_of(tmp_path_factory.mktemp("ranked"), needed))


def test_steps_are_interpolated_with_the_grids_alongside(ranked: Ranking) -> None:
    rows = {row["optimizer"]: row for row in records(ranked.ranking) if row["workload"] == "digits"}
    assert list(rows) == ["momentum", "adam", "sgd"]
    assert rows["momentum"]["steps_to_target"] == pytest.approx(505)
    assert rows["momentum"]["steps_to_target_on_grid"] == 540
    assert rows["momentum"]["steps_to_target_kaplan_meier"] == pytest.approx(505)
    assert rows["momentum"]["reached"] == rows["momentum"]["seeds"] == 5
    assert rows["sgd"]["seed_spread"] == pytest.approx(rows["momentum"]["seed_spread"])
    assert 0 < rows["momentum"]["seed_spread"] < ranked.spreads["digits"] < rows["adam"]["seed_spread"]


def test_time_is_steps_times_the_median_step(ranked: Ranking) -> None:
    row = records(ranked.ranking)[0]
    assert ranked.measure == "time" and row["time_basis"] == "steps × step time"
    assert row["time_to_target_s"] == pytest.approx(5.05, rel=0.01)


def test_verdicts_tell_what_the_seeds_tell_and_no_more(ranked: Ranking) -> None:
    for measure in ("steps", "time"):
        far = ranked.verdict("digits", measure, "momentum", "sgd")
        assert far.verdict == "faster" and far.ratio.value == pytest.approx(0.5, rel=0.01)
        assert ranked.verdict("digits", measure, "sgd", "momentum").verdict == "slower"
        assert ranked.verdict("digits", measure, "momentum", "adam").verdict == "can't tell"
    open_ = ranked.verdict("digits", "steps", "momentum", "adam")
    assert open_.more_seeds > 0 and open_.detectable > 0.1
    assert ranked.verdict("digits", "time", "momentum", "adam").more_seeds is None


def test_trainings_that_missed_the_target_take_part(ranked: Ranking) -> None:
    rows = {row["optimizer"]: row for row in records(ranked.ranking) if row["workload"] == "letters"}
    assert (rows["sgd"]["reached"], rows["sgd"]["states"]) == (3, "diverged, censored")
    assert rows["sgd"]["steps_to_target"] == pytest.approx(1040)  # the third of five, two being infinite
    found = ranked.verdict("letters", "steps", "sgd", "momentum")
    assert found.verdict == "slower" and found.ratio.unreached == 2 and found.ratio.high == float("inf")


def test_losses_are_compared_at_the_last_step_that_all_came_to(tmp_path: Path) -> None:
    losses = {"digits/adam": 0.5, "digits/sgd": 1.0}
    needed = {
        name: tuple(trained(each, loss=loss * (1 + 0.01 * seed)) for seed, each in enumerate(FIVE))
        for name, loss in losses.items()
    }
    found = rank(view_of(tmp_path, needed))
    row = next(row for row in records(found.ranking) if row["optimizer"] == "adam")
    assert row["common_step"] == 600 and row["loss"] == pytest.approx(0.5 * 1.02 * 100 / 600)
    assert found.verdict("digits", "loss", "adam", "sgd").verdict == "faster"
    assert found.verdict("digits", "steps", "adam", "sgd").verdict == "can't tell"


def test_across_workloads_there_are_scores_differences_and_each_workload_left_out(ranked: Ranking) -> None:
    rows = {row["optimizer"]: row for row in records(ranked.across.table)}
    assert list(rows)[-1] == "sgd" == ranked.baseline
    assert rows["momentum"]["score"] == pytest.approx(1, abs=0.01)
    assert rows["sgd"]["score"] == pytest.approx(2 / 3, abs=0.01)
    assert rows["momentum"]["speedup"] == pytest.approx(2, rel=0.05)
    assert rows["momentum"]["speedup_low"] > 1 and rows["momentum"]["difference_low"] > 0
    assert rows["sgd"]["difference"] == 0
    assert {rows["sgd"]["lowest_without"], rows["sgd"]["highest_without"]} <= {"digits", "letters"}
    profile = ranked.across.profile
    assert profile[profile["optimizer"] == "sgd"]["share"].iloc[-1] == 1


def test_a_named_baseline_and_steps_may_be_asked_for(tmp_path: Path) -> None:
    needed = {f"{workload}/{name}": FIVE for workload in ("a", "b") for name in ("adam", "sgd")}
    found = rank(view_of(tmp_path, needed), "sgd", by_steps=True)
    assert found.measure == "steps" and set(found.across.table["baseline"]) == {"sgd"}


def test_an_optimizer_that_lacks_a_workload_is_not_ranked_across_them(tmp_path: Path) -> None:
    killed = (Result("killed", "out of memory"),) * 5
    needed = {
        **{f"{workload}/{name}": FIVE for workload in ("a", "b") for name in ("adam", "sgd")},
        **{"a/momentum": FIVE, "b/momentum": killed},
    }
    found = rank(view_of(tmp_path, needed), "momentum")
    assert set(found.across.table["optimizer"]) == {"adam", "sgd"}
    assert found.across.table["speedup"].isna().all()
    notes = "; ".join(found.notes)
    assert "not trained on all 2 workloads, so not ranked across them: momentum" in notes
    assert "left out: 5 trainings killed" in notes


def test_one_workload_has_no_profile(tmp_path: Path) -> None:
    found = rank(view_of(tmp_path, {"digits/adam": FIVE, "digits/sgd": FIVE}))
    assert found.across.table.empty and found.across.profile.empty
    assert "one workload: no profile and no score across workloads" in found.notes


def test_without_a_timed_step_time_is_the_clocks(tmp_path: Path) -> None:
    fast, slow = (tuple(trained(each, step_s=step_s) for each in FIVE) for step_s in (0.01, 0.02))
    no_step = {"step ": Result("failed", "out of memory")}
    view = view_of(tmp_path, {"digits/adam": fast, "digits/sgd": slow}, results=no_step)
    found = rank(view)
    rows = records(found.ranking)
    assert rows[0]["time_basis"] == "clock" and rows[0]["time_to_target_s"] == pytest.approx(5.05)
    assert found.verdict("digits", "time", "adam", "sgd").ratio.value == pytest.approx(0.5)
    assert found.verdict("digits", "time", "adam", "sgd").verdict == "faster"
    assert found.verdict("digits", "steps", "adam", "sgd").verdict == "can't tell"


def test_a_training_that_diverged_has_the_budget_in_seconds_of_the_others(tmp_path: Path) -> None:
    no_step = {"step ": Result("failed", "out of memory")}
    needed = {"digits/adam": FIVE, "digits/sgd": (DIVERGED,) * 5}
    found = rank(view_of(tmp_path, needed, results=no_step)).verdict("digits", "time", "adam", "sgd")
    assert found.verdict == "faster" and found.ratio.value == pytest.approx(505 / 1200, rel=0.02)


def test_times_of_several_machines_are_not_compared(tmp_path: Path) -> None:
    view = view_of(tmp_path, {"digits/adam": FIVE, "digits/sgd": slower(2)})
    keys = [training.key for training in view.trainings()]
    found = rank(replace(view, machines={key: f"machine {place % 2}" for place, key in enumerate(keys)}))
    assert found.measure == "steps"
    assert "ranked by steps: the time of some trainings of digits is unknown" in found.notes
    assert found.verdict("digits", "time", "adam", "sgd") is None
    assert found.verdict("digits", "steps", "adam", "sgd").verdict == "faster"


def test_a_curve_that_is_none_leaves_the_recorded_step(tmp_path: Path) -> None:
    def without_curve(needed: float) -> Result:
        whole = trained(needed)
        kept = tuple(each for each in whole.measurements if not each.samples)
        return replace(whole, measurements=kept)

    found = rank(view_of(tmp_path, {"digits/adam": tuple(map(without_curve, FIVE)), "digits/sgd": FIVE}))
    rows = {row["optimizer"]: row for row in records(found.ranking)}
    assert rows["adam"]["steps_to_target"] == 540 and rows["adam"]["loss"] is None
    assert rows["sgd"]["steps_to_target"] == pytest.approx(505)


def test_a_target_that_held_at_the_first_evaluation_is_noted(tmp_path: Path) -> None:
    found = rank(view_of(tmp_path, {"digits/adam": (50.0, 130.0, 120.0), "digits/sgd": FIVE[:3]}))
    (note,) = [note for note in found.notes if "first evaluation" in note]
    assert note.startswith("digits: the target held at the first evaluation of adam; their steps are upper")


def test_steps_that_lie_before_the_first_evaluation_are_never_told_apart(tmp_path: Path) -> None:
    found = rank(view_of(tmp_path, {"digits/adam": (50.0, 40.0, 30.0), "digits/sgd": (20.0, 30.0, 10.0)}))
    rows = {row["optimizer"]: row for row in records(found.ranking)}
    assert [rows[name]["at_first"] for name in ("adam", "sgd")] == [3, 3]
    for measure in ("steps", "time"):
        assert found.verdict("digits", measure, "adam", "sgd").verdict == "can't tell"
    text = text_of(found)
    assert "at most (3 of 3 at the first evaluation)" in text and "3 (3 at the first evaluation)" in text
    assert "enough seeds" not in text


def test_steps_between_few_evaluations_say_how_well_they_are_known(tmp_path: Path) -> None:
    # Evaluations are 60 steps apart: of 165 steps (60 / 165)² is 13 %, of 900 it is under 1 %.
    found = rank(view_of(tmp_path, {"digits/adam": (165.0,) * 3, "digits/sgd": (900.0,) * 3}))
    rows = {row["optimizer"]: row for row in records(found.ranking)}
    share = pytest.approx((60 / 165) ** 2)
    assert rows["adam"]["resolution"] == share and rows["sgd"]["resolution"] == 0.01
    assert found.verdict("digits", "steps", "adam", "sgd").ratio.resolution == share
    (note,) = [note for note in found.notes if "known to" in note]
    assert note.startswith("digits: steps of adam are known to 13 % at worst")


def test_a_training_that_was_not_stopped_counts_though_its_loss_rose_again(tmp_path: Path) -> None:
    """The mean loss of its first steps is small; training holds losses against that of the first step."""
    whole = trained(500.0)
    losses = (0.01, *(0.2,) * 9)
    kept = [each for each in whole.measurements if each.metric != "curve_loss"]
    own = replace(whole, measurements=(*kept, Measurement("curve_loss", losses[-1], samples=losses)))
    found = rank(view_of(tmp_path, {"digits/adam": (own,) * 3, "digits/sgd": FIVE[:3]}))
    row = next(row for row in records(found.ranking) if row["optimizer"] == "adam")
    assert (row["reached"], row["states"]) == (3, "")
    assert row["steps_to_target"] == pytest.approx(500)


def test_rates_that_were_chosen_on_a_workload_of_the_run_are_named(tmp_path: Path) -> None:
    workload = "fashion-mnist-simplecnn"
    names = ("sgd:lr=0.2", "sgd:lr=0.1", "adam", "momentum:lr=0.02")
    found = rank(view_of(tmp_path / "same", {f"{workload}/{name}": FIVE[:3] for name in names}))
    (note,) = [note for note in found.notes if "chosen" in note]
    assert note.startswith(
        f"{workload}: the default rates of sgd, momentum were chosen on it, by its test data"
    )
    other = rank(view_of(tmp_path / "other", {f"digits/{name}": FIVE[:3] for name in names}))
    assert not [note for note in other.notes if "chosen" in note]


def test_what_cannot_be_ranked_gets_one_line(tmp_path: Path) -> None:
    view = view_of(tmp_path, {"digits/adam": FIVE, "digits/sgd": FIVE})
    with pytest.raises(BenchError, match="has no optimizer 'adma'; did you mean 'adam'"):
        rank(view, "adma")
    with pytest.raises(BenchError, match="smoke run"):
        rank(replace(view, run={**view.run, "request": {"smoke": True}}))
    with pytest.raises(BenchError, match="no training to a target"):
        rank(replace(view, cells=()))


def text_of(ranking: Ranking) -> str:
    grids = ranking_grids(ranking)
    return "\n".join(
        " | ".join(entry.text for entry in row) for grid in grids for row in (*grid.rows, ())
    ) + "\n".join(grid.title for grid in grids)


def test_the_tables_say_verdicts_and_what_would_settle_the_others(ranked: Ranking) -> None:
    text = text_of(ranked)
    assert "0.500× (0.49" in text and ", faster" in text
    assert "can't tell (would have seen" in text and "more seed" in text
    assert "to ∞), slower" in text or ", faster" in text
    assert "3/5 (diverged, censored)" in text and "5 (2 unreached)" in text
    assert "Across 2 workloads, by time" in text and "seeds differ by" in text


def test_of_many_pairs_neighbours_and_the_baseline_are_shown(tmp_path: Path) -> None:
    names = [f"sgd:lr={number}" for number in range(6)]
    few = {f"digits/{name}": (300.0 + 50 * place,) * 3 for place, name in enumerate(names)}
    steps = {f"step digits/{name}": Result("failed", "x") for name in names}
    evaluate = {f"{kind} digits/": Result("failed", "x") for kind in ("evaluate", "lower", "infer")}
    found = rank(view_of(tmp_path, few, results=steps | evaluate), names[3])
    (pairs,) = [grid for grid in ranking_grids(found) if grid.name == "pairs"]
    assert (
        len(found.pairs) == 3 * 15 and len(pairs.rows) == 5 + 3 <= MAX_PAIRS and "of 15 pairs" in pairs.title
    )
