"""A baseline has what a run measured, says what it is of, and is checked when it is read."""

from __future__ import annotations

import json
import sqlite3

import pytest

from bench.analysis.comparable import deciding
from bench.analysis.noise import KEPT_RUNS
from bench.analysis.summary import summarize
from bench.errors import BenchError
from bench.metrics import METRICS, MetricTable
from bench.records import Measurement, Result
from bench.regression import baseline
from bench.regression import verdict as regression
from bench.results.store import Store
from tests.support.checked_runs import ENVIRONMENT, STAGES, check, make_run, verdicts


def test_a_baseline_may_be_a_run_or_a_file(store, tmp_path):
    make_run(store, "after", accuracy=0.5)
    for name in ("before", str(tmp_path / "baselines" / "main.json")):
        comparison = regression.check(store, "after", name, tmp_path)
        assert verdicts(comparison)["accuracy"] == "regression"
    with pytest.raises(BenchError, match="no baseline 'nothing'"):
        regression.check(store, "after", "nothing", tmp_path)


def test_a_baseline_has_the_earlier_runs_of_its_machine_alone(store, tmp_path):
    make_run(store, "other", environment={**ENVIRONMENT, "cpu": {"model": "another"}})
    make_run(store, "third")
    content = json.loads(baseline.save(store, "third", "third", tmp_path).read_text())
    assert content["history"] == {"infer dense @ cpu": {"latency_s": [1.0]}}


def test_runs_of_another_matrix_take_no_place_in_the_history(store, tmp_path):
    """As many as a history keeps: what the machine's noise is known from is older than all of them."""
    for number in range(3):
        make_run(store, f"own{number}", latencies=[2.0 + number] * 6)
    for number in range(KEPT_RUNS):
        make_run(store, f"other{number}", stages=STAGES[:1])
    make_run(store, "latest")
    content = json.loads(baseline.save(store, "latest", "latest", tmp_path).read_text())
    assert content["history"]["infer dense @ cpu"]["latency_s"] == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_a_history_has_the_latest_runs_oldest_first(store, tmp_path):
    for number in range(KEPT_RUNS + 5):
        make_run(store, f"own{number}", latencies=[2.0 + number] * 6)
    make_run(store, "latest")
    content = json.loads(baseline.save(store, "latest", "latest", tmp_path).read_text())
    kept = [2.0 + number for number in range(5, KEPT_RUNS + 5)]
    assert content["history"]["infer dense @ cpu"]["latency_s"] == pytest.approx(kept)


def test_a_baseline_from_before_there_was_a_history_is_read(store, tmp_path):
    path = tmp_path / "baselines" / "main.json"
    content = json.loads(path.read_text())
    del content["history"], content["repeats"]
    path.write_text(json.dumps(content | {"version": 2}))
    assert check(store, "before", margin=0.2).clean


def test_a_baselines_environment_is_that_of_the_stages_with_the_most_threads(store, tmp_path):
    store.start_run("mixed", "mixed", "quick", "bench run", {}, STAGES, [])
    for stage, threads in zip((*STAGES, STAGES[0]), (1, 4, 2), strict=True):
        seen = Result("ok", environment={**ENVIRONMENT, "threads": threads})
        store.add_launch("mixed", stage, 0, seen)
    assert baseline.collect(store, "mixed")["environment"]["threads"] == 4


def test_a_launch_that_is_taken_over_does_not_make_another_machine_of_a_run(store, tmp_path):
    """Ceilings of the day may have been measured with other libraries, and have all threads."""
    store.start_run("again", "again", "quick", "bench run", {}, STAGES, [])
    older = {**ENVIRONMENT, "threads": 64, "libraries": {"torch": "2.12.0"}}
    store.add_launch("again", STAGES[1], 0, Result("ok", environment=older), reused=True)
    store.add_launch("again", STAGES[0], 0, Result("ok", environment=ENVIRONMENT))
    assert store.environment("again") == ENVIRONMENT
    assert list(store.environments("again").values()) == [ENVIRONMENT, older]
    assert baseline.collect(store, "again")["environment"] == deciding(ENVIRONMENT)


def test_mistakes_get_one_line_each(store, tmp_path):
    make_run(store, "unfinished", finish=False)
    for call, message in (
        (lambda: regression.check(store, "before", "mian", tmp_path), "did you mean 'main'"),
        (lambda: baseline.save(store, "before", "no/slash", tmp_path), "must consist of letters"),
        (lambda: baseline.save(store, "unfinished", "x", tmp_path), "has not finished"),
    ):
        with pytest.raises(BenchError, match=message):
            call()
    (tmp_path / "baselines" / "broken.json").write_text("{")
    with pytest.raises(BenchError, match="not a baseline"):
        regression.check(store, "before", "broken", tmp_path)


def test_a_baseline_of_another_matrix_has_nothing_in_common(store, tmp_path):
    path = tmp_path / "baselines" / "main.json"
    content = json.loads(path.read_text())
    content["stages"] = {"evaluate other": content["stages"]["evaluate net @ cpu"]}
    path.write_text(json.dumps(content))
    with pytest.raises(BenchError, match="no stage in common"):
        check(store, "before")


def test_the_command_holds_a_run_against_its_own_baseline(command, store, tmp_path):
    saved = command("baseline", "save", "again", "--results", tmp_path)
    assert saved.returncode == 0 and "again.json, from run before" in saved.stdout
    checked = command("check", "--baseline", "again", "--results", tmp_path)
    # Without a history its timing has no verdict: that is not clean.
    assert checked.returncode == 0 and "not all can be told" in checked.stdout.splitlines()[-1]
    make_run(store, "later")
    assert "replacing run before" in command("baseline", "save", "again", "--results", tmp_path).stdout


TIMED = '"infer dense @ cpu": {"latency_s": '


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"environment"', '"surroundings"', "environment Field required"),
        ('"version": 3', '"version": 1', "baseline version must be 3, got 1"),
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
    row = metric_row(f"overlap_{better}", better=better, kind="exact" if better == "neither" else "seeded")
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
