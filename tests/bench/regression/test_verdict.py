"""The check finds what got worse, and nothing else."""

from __future__ import annotations

import json
import sqlite3

import pytest

from bench.analysis.summary import summarize
from bench.errors import BenchError
from bench.metrics import METRICS, MetricTable
from bench.records import Measurement, PlannedRequest, Result
from bench.regression import baseline
from bench.regression import verdict as regression
from bench.results.store import StageRow, Store

ENVIRONMENT = {"cpu": {"model": "some"}, "threads": 2, "libraries": {"torch": "2"}, "python": "3.11"}
STAGES = [
    StageRow("a" * 64, "evaluate", "net @ cpu", False, (), PlannedRequest()),
    StageRow("b" * 64, "infer", "dense @ cpu", True, (), PlannedRequest()),
]
QUIET = (1.00, 1.01, 0.99, 1.00, 1.02, 0.98)


def make_run(
    store: Store,
    name: str,
    latencies=QUIET,
    accuracy=0.9,
    parameters=100,
    environment=ENVIRONMENT,
    finish=True,
    stages=STAGES,
) -> None:
    store.start_run(name, name, "quick", "bench run", {}, stages, [])
    evaluated = (Measurement("accuracy", accuracy), Measurement("parameters", parameters))
    store.add_launch(name, STAGES[0], 0, Result("ok", measurements=evaluated, environment=environment))
    if len(stages) > 1:
        for round_, latency in enumerate(latencies):
            timed = Result("ok", measurements=(Measurement("latency_s", latency),), environment=environment)
            store.add_launch(name, STAGES[1], round_, timed)
    if finish:
        store.finish_run(name)


@pytest.fixture
def store(tmp_path):
    store = Store.open(tmp_path)
    make_run(store, "before")
    baseline.save(store, "before", "main", tmp_path)
    return store


def check(store: Store, run: str, threshold: float = 0.1) -> regression.Comparison:
    return regression.check(store, run, "main", store.path.parent, threshold)


def verdicts(comparison: regression.Comparison) -> dict[str, str]:
    return {finding.metric: finding.verdict for finding in comparison.findings}


def test_a_run_held_against_itself_is_clean(store):
    comparison = check(store, "before")
    assert comparison.clean
    assert set(verdicts(comparison).values()) == {"same"}


def test_launches_that_differ_by_noise_alone_are_clean(store):
    make_run(store, "after", latencies=(1.01, 0.98, 1.00, 1.02, 0.99, 1.00))
    assert check(store, "after").clean


@pytest.mark.parametrize(("factor", "clean"), [(1.02, True), (1.3, False), (2.0, False), (0.5, True)])
def test_a_slowdown_over_threshold_and_noise_is_a_regression_a_speedup_is_not(store, factor, clean):
    make_run(store, "after", latencies=[latency * factor for latency in QUIET])
    assert check(store, "after").clean is clean


def test_a_slowdown_under_the_threshold_is_told_apart_but_is_no_regression(store):
    make_run(store, "after", latencies=[latency * 1.08 for latency in QUIET])
    assert verdicts(check(store, "after"))["latency_s"] == "noise"
    assert verdicts(check(store, "after", threshold=0.02))["latency_s"] == "regression"


def judged(store: Store, before: tuple[float, ...], after: tuple[float, ...]) -> regression.Finding:
    """Return what is found of a timing from its launches in the baseline and now."""
    make_run(store, "earlier", latencies=before)
    baseline.save(store, "earlier", "main", store.path.parent)
    make_run(store, "after", latencies=after)
    (finding,) = (entry for entry in check(store, "after").findings if entry.metric == "latency_s")
    return finding


SLOW, SPREAD = (1.45,) * 6, (1.15, 1.9, 1.2, 1.8, 1.25, 1.7)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (QUIET, SLOW, "regression"),
        (QUIET, SPREAD, "noise"),  # slower than any launch before, but by less than its own differ
        (tuple(latency / 1.45 for latency in SPREAD), SLOW, "noise"),
        (SLOW, QUIET, "improvement"),
        (SPREAD, QUIET, "noise"),
    ],
)
def test_a_difference_within_the_spread_of_either_sides_launches_is_noise(store, before, after, verdict):
    assert judged(store, before, after).verdict == verdict


@pytest.mark.parametrize("turned", [False, True])
def test_a_difference_whose_interval_holds_one_is_none_however_large_it_is(store, turned):
    one_slow, one_fast = (1.0,) * 5 + (2.0,), (0.5,) + (1.3,) * 5
    finding = judged(store, *((one_fast, one_slow) if turned else (one_slow, one_fast)))
    assert finding.verdict == "same"
    assert finding.text.startswith("x0.769" if turned else "x1.30 ")


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
    [(None, 0.9, "improvement"), (0.9, None, "regression"), (None, None, "same")],
)
def test_a_value_that_is_lost_is_a_regression_and_one_that_is_won_an_improvement(store, before, now, verdict):
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
        "parameters": "same",
    }


def test_a_baselines_environment_is_that_of_the_stages_with_the_most_threads(store, tmp_path):
    store.start_run("mixed", "mixed", "quick", "bench run", {}, STAGES, [])
    for stage, threads in zip((*STAGES, STAGES[0]), (1, 4, 2), strict=True):
        seen = Result("ok", environment={**ENVIRONMENT, "threads": threads})
        store.add_launch("mixed", stage, 0, seen)
    assert baseline.collect(store, "mixed")["environment"]["threads"] == 4


def test_a_stage_that_is_missing_is_not_clean(store):
    make_run(store, "after", stages=STAGES[:1])
    assert not check(store, "after").clean


def test_mistakes_get_one_line_each(store, tmp_path):
    make_run(store, "unfinished", finish=False)
    for call, message in (
        (lambda: regression.check(store, "before", "mian", tmp_path, 0.1), "did you mean 'main'"),
        (lambda: baseline.save(store, "before", "no/slash", tmp_path), "must consist of letters"),
        (lambda: baseline.save(store, "unfinished", "x", tmp_path), "has not finished"),
    ):
        with pytest.raises(BenchError, match=message):
            call()
    (tmp_path / "baselines" / "broken.json").write_text("{")
    with pytest.raises(BenchError, match="not a baseline"):
        regression.check(store, "before", "broken", tmp_path, 0.1)


def test_a_baseline_of_another_matrix_has_nothing_in_common(store, tmp_path):
    path = tmp_path / "baselines" / "main.json"
    content = json.loads(path.read_text())
    content["stages"] = {"evaluate other": content["stages"]["evaluate net @ cpu"]}
    path.write_text(json.dumps(content))
    with pytest.raises(BenchError, match="no stage in common"):
        check(store, "before")


def test_the_last_line_counts_the_verdicts(store):
    make_run(store, "after", accuracy=0.5)
    *lines, last = regression.verdict_lines(check(store, "after"))
    assert any(
        line.startswith("regression: evaluate net @ cpu accuracy 90.00 % -> 50.00 %") for line in lines
    )
    assert "REGRESSION" in last and "1 regression" in last


def test_the_command_holds_a_run_against_its_own_baseline(command, store, tmp_path):
    saved = command("baseline", "save", "again", "--results", tmp_path)
    assert saved.returncode == 0 and "again.json, from run before" in saved.stdout
    checked = command("check", "--baseline", "again", "--results", tmp_path)
    assert checked.returncode == 0 and "clean" in checked.stdout.splitlines()[-1]
    make_run(store, "later")
    assert "replacing run before" in command("baseline", "save", "again", "--results", tmp_path).stdout


TIMED = '"infer dense @ cpu": {"latency_s": '


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"environment"', '"surroundings"', "environment Field required"),
        ('"version": 2', '"version": 1', "baseline version must be 2, got 1"),
        (TIMED, '"infer dense @ cpu": {"latencies": ', "unknown metric"),
        ("1.02", "0.0", "greater than 0"),
        ("1.02", "NaN", "finite number"),
        ('"launches"', '"lunches"', "not permitted"),
    ],
)
def test_a_broken_baseline_gets_one_line(store, tmp_path, old, new, message):
    path = tmp_path / "baselines" / "main.json"
    text = json.dumps(json.loads(path.read_text()))
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BenchError, match=r"^[^\n]+; save it again$") as caught:
        check(store, "before")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", ""])
def test_a_name_that_is_no_file_of_the_folder_is_refused(store, tmp_path, name):
    with pytest.raises(BenchError, match="name must consist of"):
        baseline.save(store, "before", name, tmp_path)


def test_a_time_of_nothing_is_unknown(store):
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE measurements SET value = -launch_id % 2 WHERE metric = 'latency_s'")
    frame = store.measurements("before")
    assert frame[frame["metric"] == "latency_s"]["value"].isna().all()
    assert verdicts(check(store, "before"))["latency_s"] == "missing"


def test_a_metric_that_this_version_does_not_know_is_shown_and_neither_kept_nor_compared(store, tmp_path):
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE measurements SET metric = 'of_my_own' WHERE metric = 'accuracy'")
    summary = summarize(store.measurements("before"))
    assert "of_my_own" in set(summary["metric"])
    assert "of_my_own" not in baseline.save(store, "before", "other", tmp_path).read_text()
    check(store, "before")


def metric_row(name: str, **traits: object) -> dict[str, object]:
    """Return a plug-in's metric as a run's record keeps it."""
    traits = {"unit": "share", "better": "higher", "quality": True, "about": "overlap", **traits}
    return MetricTable([]).add(name, **traits).to_json()


def make_run_of_plugin(store: Store, name: str, value: float, row: dict[str, object]) -> None:
    """Enter a run whose plug-in, unknown here, measured a metric of its own."""
    store.start_run(name, name, "quick", "bench run", {"metrics": [row]}, STAGES[:1], [])
    found = (Measurement(str(row["name"]), value),)
    store.add_launch(name, STAGES[0], 0, Result("ok", measurements=found, environment=ENVIRONMENT))
    store.finish_run(name)


@pytest.mark.parametrize(
    ("better", "value", "verdict"),
    [
        ("higher", 0.5, "regression"),
        ("higher", 0.9, "improvement"),
        ("lower", 0.5, "improvement"),
        ("neither", 0.9, "regression"),
    ],
)
def test_a_plug_ins_metric_is_judged_without_the_plug_in(tmp_path, better, value, verdict):
    row = metric_row(f"overlap_{better}", better=better)
    store = Store.open(tmp_path)
    make_run_of_plugin(store, "before", 0.75, row)
    make_run_of_plugin(store, "after", value, row)
    baseline.save(store, "before", "main", tmp_path)
    comparison = check(store, "after")
    assert verdicts(comparison) == {row["name"]: verdict} and not comparison.notes
    assert f"75.00 % -> {100 * value:.2f} %" in comparison.findings[0].text


def test_a_plug_ins_metric_that_means_something_else_now_is_judged_as_it_is_now(tmp_path):
    store = Store.open(tmp_path)
    make_run_of_plugin(store, "before", 0.75, metric_row("turned"))
    make_run_of_plugin(store, "after", 0.5, metric_row("turned", better="lower"))
    baseline.save(store, "before", "main", tmp_path)
    comparison = check(store, "after")
    assert verdicts(comparison) == {"turned": "improvement"}
    assert comparison.notes == ["turned: its direction differs from the baseline's; the run's own is used"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"better": "up"}, "better must be lower, higher, neither"),
        ({"name": "../x"}, "a name has only"),
        ({"label": "x" * 100}, "label must be one line"),
        ({"low": "none"}, "valid number"),
        ({"high": float("inf")}, "finite number"),
        ({"name": "another"}, "of_baseline: unknown metric"),
    ],
)
def test_rows_of_metrics_in_a_baseline_are_checked(tmp_path, change, message):
    store = Store.open(tmp_path)
    make_run_of_plugin(store, "before", 0.75, metric_row("of_baseline"))
    path = baseline.save(store, "before", "main", tmp_path)
    content = json.loads(path.read_text())
    content["metrics"][0] |= change
    path.write_text(json.dumps(content))
    METRICS._learned.pop("of_baseline", None)
    with pytest.raises(BenchError, match=r"^[^\n]+; save it again$") as caught:
        check(store, "before")
    assert message in str(caught.value)


def test_a_baseline_cannot_turn_a_metric_of_the_suite_round(tmp_path):
    store = Store.open(tmp_path)
    make_run(store, "before")
    make_run(store, "after", accuracy=0.5)
    path = baseline.save(store, "before", "main", tmp_path)
    content = json.loads(path.read_text())
    content["metrics"] = [{**METRICS["accuracy"].to_json(), "better": "lower"}]
    path.write_text(json.dumps(content))
    assert verdicts(check(store, "after"))["accuracy"] == "regression"
