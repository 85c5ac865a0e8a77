"""The check finds what got worse, and nothing else."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import BenchError
from bench.records import Measurement, PlannedRequest, Result
from bench.regression import baseline
from bench.regression import verdict as regression
from bench.regression.finding import Comparison, Finding
from bench.regression.seeds import judge_seeds
from bench.regression.timing import Timing, judge_timings
from bench.results.store import StageRow, Store
from tests.support.checked_runs import ENVIRONMENT, QUIET, STAGES, check, make_run, verdicts


def remember(store: Store, runs: int = 8, spread: float = 0.004, seed: int = 0) -> None:
    """Enter earlier runs whose timings lie apart by so much, and save the last one as the baseline."""
    chance = np.random.default_rng(seed)
    for number in range(runs):
        factor = math.exp(chance.normal(0, spread))
        make_run(store, f"earlier{number}", latencies=[latency * factor for latency in QUIET])
    baseline.save(store, f"earlier{runs - 1}", "main", store.path.parent)


def timing(comparison: Comparison) -> Finding:
    (finding,) = (entry for entry in comparison.findings if entry.metric == "latency_s")
    return finding


def test_a_run_held_against_itself_has_not_changed(store):
    comparison = check(store, "before", margin=0.2)
    assert comparison.clean
    assert set(verdicts(comparison).values()) == {"no change"}
    assert timing(comparison).bound < 0.2


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "no change"), (1.05, "regression"), (1.1, "regression"), (0.9, "improvement")],
)
def test_a_machine_whose_runs_lie_close_together_shows_small_changes(store, factor, verdict):
    remember(store)
    make_run(store, "after", latencies=[latency * factor for latency in QUIET])
    found = timing(check(store, "after"))
    assert found.verdict == verdict
    assert found.ratio.low <= factor <= found.ratio.high


def test_a_machine_whose_runs_lie_far_apart_says_what_it_cannot_see(store):
    remember(store, spread=0.05)
    make_run(store, "after", latencies=[latency * 1.1 for latency in QUIET])
    comparison = check(store, "after")
    found = timing(comparison)
    assert comparison.clean and found.verdict == "can't tell" and 0.1 < found.bound < 0.6
    assert f"would have seen {found.bound:.1%}" in found.text
    assert (comparison.exit_code(), comparison.exit_code(strict=True)) == (0, 3)


@pytest.mark.parametrize(("factor", "verdict"), [(1.1, "can't tell"), (1.5, "regression")])
def test_without_earlier_runs_only_large_changes_are_told(store, factor, verdict):
    make_run(store, "after", latencies=[latency * factor for latency in QUIET])
    found = timing(check(store, "after"))
    assert found.verdict == verdict
    assert ("too few to know its noise" in found.text) is (verdict == "can't tell")


@pytest.mark.parametrize("launches", [1, 3, 5])
def test_no_verdict_below_six_launches_however_slow(store, launches):
    make_run(store, "after", latencies=(10.0,) * launches)
    found = timing(check(store, "after"))
    assert (found.verdict, found.bound) == ("can't tell", None)
    assert "a verdict needs 6" in found.text


def test_a_slowdown_that_is_let_pass_is_none(store):
    remember(store)
    make_run(store, "after", latencies=[latency * 1.06 for latency in QUIET])
    assert timing(check(store, "after")).verdict == "regression"
    passed = timing(check(store, "after", threshold=0.1))
    assert passed.verdict == "can't tell"
    assert timing(check(store, "after", threshold=0.1, margin=0.1)).verdict == "no change"


def test_two_modes_of_launches_are_told(store):
    make_run(store, "after", latencies=(1.0, 1.3, 1.001, 1.301, 1.0, 1.302, 1.001, 1.3))
    assert "two modes now: 4 launches, and 4 slower by 30%" in timing(check(store, "after")).text


def test_launches_that_take_after_each_other_have_no_interval(store):
    slowly = [1 + 0.2 * math.sin(number / 8) for number in range(40)]
    make_run(store, "after", latencies=slowly)
    found = timing(check(store, "after"))
    assert found.verdict == "can't tell" and "consecutive launches are alike" in found.text


def test_samples_that_get_slower_within_launches_are_told(store):
    for run, drift in (("steady", 1.01), ("drifting", 1.2)):
        store.start_run(run, run, "quick", "bench run", {}, STAGES, [])
        for number, latency in enumerate(QUIET):
            measured = (Measurement("latency_s", latency), Measurement("samples_drift", drift))
            store.add_launch(
                run, STAGES[1], number, Result("ok", measurements=measured, environment=ENVIRONMENT)
            )
        store.finish_run(run)
    told = [
        [note for note in check(store, run).notes if "within launches" in note]
        for run in ("steady", "drifting")
    ]
    assert told == [[], ["samples get slower within launches, by up to 20%: infer dense @ cpu"]]


CHANGES = {
    "peak_tensor_bytes": (100 * 2**20, 108 * 2**20),
    "dense_flops": (1e6, 1.1e6),
    "steps_to_target": (200, 210),
    "accuracy": (0.9, 0.895),
}


@pytest.mark.parametrize("metric", CHANGES)
def test_more_memory_another_layer_more_steps_and_half_a_point_are_each_found_and_named(tmp_path, metric):
    store = Store.open(tmp_path)
    for run, value in zip(("before", "after"), CHANGES[metric], strict=True):
        store.start_run(run, run, "quick", "bench run", {}, STAGES[:1], [])
        measured = tuple(
            Measurement(name, value if name == metric else both[0]) for name, both in CHANGES.items()
        )
        store.add_launch(run, STAGES[0], 0, Result("ok", measurements=measured, environment=ENVIRONMENT))
        store.finish_run(run)
    comparison = regression.check(store, "after", "before", tmp_path)
    (found,) = (finding for finding in comparison.findings if finding.verdict != "no change")
    assert (found.verdict, found.metric, found.stage) == ("regression", metric, "evaluate net @ cpu")


def test_one_slow_timing_among_many_is_found_and_none_where_there_is_none():
    chance = np.random.default_rng(1)

    def timings(slow: float) -> list[Timing]:
        return [
            Timing(
                f"infer {number}",
                "latency_s",
                launches(chance, 1.0),
                launches(chance, slow if number == 7 else 1.0),
                np.exp(chance.normal(0, 0.01, 10)),
            )
            for number in range(20)
        ]

    found = [judge_timings(timings(1.1), 0.05, 0.0) for _ in range(20)]
    assert sum(each[7].verdict == "regression" for each in found) >= 19
    nothing = [judge_timings(timings(1.0), 0.05, 0.0) for _ in range(100)]
    assert sum(any(entry.alarms for entry in each) for each in nothing) <= 3


def launches(chance: np.random.Generator, centre: float) -> list[float]:
    """Return six launches of a run, which is off by what runs are off by."""
    return list(centre * np.exp(chance.normal(chance.normal(0, 0.01), 0.01, 6)))


def seeds_of(store: Store, run: str, steps: Sequence[float | None], losses: tuple[float, float]) -> None:
    """Enter a run of trainings from several seeds; the step of each has these first losses."""
    trained = [
        StageRow(
            f"{number:064x}",
            "train",
            f"net adam{f' seed {number}' if number else ''}",
            False,
            (),
            PlannedRequest(),
        )
        for number in range(len(steps))
    ]
    timed = [
        replace(stage, key=f"f{stage.key[1:]}", kind="step", label=f"{stage.label} step", timed=True)
        for stage in trained
    ]
    store.start_run(run, run, "quick", "bench run", {}, [*trained, *timed], [])
    for stage, step, needed in zip(trained, timed, steps, strict=True):
        measured = (Measurement("steps_to_target", needed),)
        store.add_launch(run, stage, 0, Result("ok", measurements=measured, environment=ENVIRONMENT))
        for number, loss in enumerate(losses):
            measured = (Measurement("early_loss", loss),)
            store.add_launch(run, step, number, Result("ok", measurements=measured, environment=ENVIRONMENT))
    store.finish_run(run)


def test_what_only_describes_a_training_is_told_and_no_regression(tmp_path):
    """A training that gets better has other gradients: no commit that improves it may fail for that."""
    store = Store.open(tmp_path)
    for run, accuracy, norm, samples in (("before", 0.9, 1.52, 100), ("after", 0.91, 1.49, 100)):
        store.start_run(run, run, "quick", "bench run", {}, STAGES[:1], [])
        measured = {"accuracy": accuracy, "gradient_norm_max": norm, "test_samples": samples}
        entered = tuple(Measurement(name, value) for name, value in measured.items())
        store.add_launch(run, STAGES[0], 0, Result("ok", measurements=entered, environment=ENVIRONMENT))
        store.finish_run(run)
    comparison = regression.check(store, "after", "before", tmp_path)
    assert verdicts(comparison) == {"accuracy": "improvement", "test_samples": "no change"}
    (note,) = comparison.notes
    assert "not judged" in note and "gradient_norm_max of evaluate net @ cpu 1.52 -> 1.49" in note


@pytest.mark.parametrize("unfinished", ["before", "after"])
def test_a_run_that_has_not_finished_is_neither_checked_nor_a_baseline(tmp_path, unfinished):
    store = Store.open(tmp_path)
    for run in ("before", "after"):
        make_run(store, run, finish=run != unfinished, stages=STAGES[:1] if run == unfinished else STAGES)
    with pytest.raises(BenchError, match=f"run {unfinished} has not finished; run its command again"):
        regression.check(store, "after", "before", tmp_path)


@pytest.mark.parametrize(
    ("losses", "now", "expected"),
    [
        ((1.0, 1.0), [100, 100, 105, 100], ["no change"] * 3 + ["regression"]),
        ((1.0, 1.1), [102, 99, 101, 98], ["can't tell"]),
        ((1.0, 1.1), [121, 118, 124, 119], ["regression"]),
        ((1.0, 1.1), [121, 118], ["can't tell"]),
        # One evaluation later from each of three seeds: by chance, as often as not.
        ((1.0, 1.1), [110, 110, 110], ["can't tell"]),
        ((1.0, 1.1), [100, 100, 100], ["no change"]),
        ((1.0, 1.1), [None, None, None], ["lost"]),
        ((1.0, 1.1), [None], ["can't tell"]),
        ((1.0, 1.1), [None, 100, 100, 100, None], ["can't tell"]),
    ],
)
def test_steps_are_compared_by_seed_or_over_seeds_where_losses_do_not_repeat(tmp_path, losses, now, expected):
    store = Store.open(tmp_path)
    seeds_of(store, "before", [100] * len(now), losses)
    seeds_of(store, "after", now, losses)
    comparison = regression.check(store, "after", "before", tmp_path)
    found = [finding.verdict for finding in comparison.findings if finding.metric == "steps_to_target"]
    assert sorted(found) == sorted(expected)


def trained(stages: int, seeds: int, value: Callable[[], float], metric: str) -> dict[str, dict[str, dict]]:
    return {
        f"train net{stage} seed {seed}": {metric: {"value": value()}}
        for stage in range(stages)
        for seed in range(seeds)
    }


@pytest.mark.parametrize("seeds", [3, 5])
def test_trainings_that_do_not_repeat_alarm_in_one_of_a_hundred_checks_and_worse_ones_are_found(seeds):
    chance = np.random.default_rng(0)
    alarms = found = 0
    for _ in range(200):
        before, now = (trained(20, seeds, lambda: 0.9 + chance.normal(0, 0.01), "accuracy") for _ in range(2))
        alarms += any(finding.alarms for finding in judge_seeds(set(before), before, now))
        for seed in range(seeds):
            now[f"train net7 seed {seed}"]["accuracy"]["value"] -= 0.5
        worse = {finding.stage for finding in judge_seeds(set(before), before, now) if finding.alarms}
        found += "train net7" in worse
    # One in a hundred; above 7 of 200 with probability 0.001.
    assert alarms <= 7 and found >= 185


def test_a_target_that_no_seed_reaches_any_more_is_worse_and_one_that_some_miss_is_open():
    def judged(now: list[float]) -> Finding:
        values = iter([1.0] * len(now) + now)
        before, after = (trained(1, len(now), lambda: next(values), "target_reached") for _ in range(2))
        (finding,) = judge_seeds(set(before), before, after)
        return finding

    assert judged([0.0, 0.0, 0.0]).verdict == "regression"
    assert judged([1.0, 1.0, 1.0]).verdict == "no change"
    assert judged([1.0, 0.0, 0.0, 1.0, 1.0]).verdict == "can't tell"


def test_seeds_that_have_a_value_on_one_side_alone_are_counted():
    values = iter([100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 101.0, 99.0, 100.0, None, None, 97.0])
    before, now = (trained(1, 6, lambda: next(values), "steps_to_target") for _ in range(2))
    (finding,) = judge_seeds(set(before), before, now)
    assert finding.text.endswith("over 4 seeds; 2 seeds only before, within what seeds differ by")


@pytest.mark.parametrize(
    ("change", "metric"), [({"accuracy": 0.8999}, "accuracy"), ({"parameters": 101}, "parameters")]
)
def test_an_exact_metric_that_got_worse_at_all_is_a_regression(store, change, metric):
    make_run(store, "after", **change)
    comparison = check(store, "after")
    assert not comparison.clean
    assert verdicts(comparison)[metric] == "regression"


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [(None, 0.9, "improvement"), (0.9, None, "lost"), (None, None, "no change")],
)
def test_a_value_that_is_lost_alarms_and_one_that_is_won_is_an_improvement(store, before, now, verdict):
    make_run(store, "earlier", accuracy=before)
    baseline.save(store, "earlier", "main", store.path.parent)
    make_run(store, "after", accuracy=now)
    assert verdicts(check(store, "after"))["accuracy"] == verdict


def test_better_quality_is_an_improvement(store):
    make_run(store, "after", accuracy=0.91)
    comparison = check(store, "after")
    assert comparison.clean and verdicts(comparison)["accuracy"] == "improvement"


def test_on_another_machine_only_exact_metrics_are_held_and_it_says_so(store):
    other = {**ENVIRONMENT, "cpu": {"model": "another"}}
    make_run(store, "after", latencies=(9.0,) * 6, accuracy=0.5, environment=other)
    comparison = check(store, "after")
    assert comparison.clean
    assert "differs in cpu" in comparison.notes[0]
    assert verdicts(comparison) == {
        "accuracy": "not comparable",
        "latency_s": "not comparable",
        "parameters": "no change",
    }


def test_a_stage_that_is_missing_is_not_clean(store):
    make_run(store, "after", stages=STAGES[:1])
    assert not check(store, "after").clean


def test_the_last_line_counts_the_verdicts(store):
    make_run(store, "after", accuracy=0.5)
    comparison = check(store, "after", margin=0.2)
    worst = next(comparison.worst_first())
    assert (worst.stage, worst.metric) == ("evaluate net @ cpu", "accuracy")
    assert worst.text.startswith("90.00 % -> 50.00 %")
    assert comparison.summary.endswith("REGRESSION (1 regression, 2 no change)")


def test_a_time_of_nothing_is_unknown(store):
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE measurements SET value = -launch_id % 2 WHERE metric = 'latency_s'")
    frame = store.measurements("before")
    assert frame[frame["metric"] == "latency_s"]["value"].isna().all()
    assert verdicts(check(store, "before"))["latency_s"] == "lost"
