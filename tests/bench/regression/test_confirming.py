"""What got slower is launched again before it counts as a regression."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.regression import confirming
from bench.regression.finding import Comparison
from bench.results.store import Store
from tests.support.checked_runs import ENVIRONMENT, QUIET, STAGES, check, make_run, verdicts

MATRIX = """
[train]
workload = "digits"
optimizer = "sgd"
[infer]
compression = "none"
backend = "cpu-eager"
[budget]
train_steps = 2
max_launches = 6
target_interval = 1e-4
sample_s = 0.01
"""

FASTER = 50
"""How much faster than it is a planted baseline says that the inference was: no machine is as disturbed."""


@pytest.fixture
def slower(store: Store) -> Iterator[Store]:
    """Yield a store whose run `after` is half as fast as the baseline in its timing, and else the same."""
    make_run(store, "after", latencies=[2 * latency for latency in QUIET])
    yield store


def confirm(store: Store, monkeypatch: pytest.MonkeyPatch, again: float) -> Comparison:
    """Confirm the run `after`; its fresh launches are so many times as slow as the baseline's."""

    def measured_again(suspects, run_id, *rest) -> str:
        assert [finding.metric for finding in suspects] == ["latency_s"] and run_id == "after"
        make_run(store, "fresh", latencies=[again * latency for latency in QUIET])
        return "fresh"

    monkeypatch.setattr(confirming, "_measured_again", measured_again)
    folder = store.path.parent
    found = check(store, "after")
    return confirming.confirmed(
        found, "after", folder, "", "main", lambda line: None, margin=0.05, threshold=0.0
    )


def test_what_is_slow_again_is_a_regression(slower, monkeypatch):
    comparison = confirm(slower, monkeypatch, again=2.0)
    assert not comparison.clean and verdicts(comparison)["latency_s"] == "regression"
    assert "confirmed by run fresh: x2.00" in next(comparison.worst_first()).text


def test_what_is_not_slow_again_cannot_be_told_and_nothing_else_changes(slower, monkeypatch):
    comparison = confirm(slower, monkeypatch, again=1.0)
    assert comparison.clean
    assert verdicts(comparison) == {
        "accuracy": "no change",
        "latency_s": "can't tell",
        "parameters": "no change",
    }
    (told,) = (finding for finding in comparison.findings if finding.verdict == "can't tell")
    assert "not confirmed by run fresh: x1.00" in told.text


def test_what_cannot_be_launched_any_more_stays_a_regression(slower, monkeypatch):
    def crashed(*_: object) -> str:
        make_run(slower, "fresh", stages=STAGES[:1])
        return "fresh"

    monkeypatch.setattr(confirming, "_measured_again", crashed)
    found = check(slower, "after")
    options = {"margin": 0.05, "threshold": 0.0}
    comparison = confirming.confirmed(
        found, "after", slower.path.parent, "", "main", lambda line: None, **options
    )
    assert not comparison.clean and verdicts(comparison)["latency_s"] == "regression"
    assert "run fresh could not measure it again" in next(comparison.worst_first()).text


@pytest.mark.parametrize(("again", "verdict"), [(3.0, "regression"), (1.0, "can't tell")])
def test_on_another_machine_too_if_that_is_asked_for(store, monkeypatch, again, verdict):
    other = {**ENVIRONMENT, "cpu": {"model": "another"}}
    make_run(store, "after", latencies=[3 * latency for latency in QUIET], environment=other)

    def measured_again(*_: object) -> str:
        make_run(store, "fresh", latencies=[again * latency for latency in QUIET], environment=other)
        return "fresh"

    monkeypatch.setattr(confirming, "_measured_again", measured_again)
    found = check(store, "after", any_machine=True)
    options = {"margin": 0.05, "threshold": 0.0, "any_machine": True}
    comparison = confirming.confirmed(
        found, "after", store.path.parent, "", "main", lambda line: None, **options
    )
    assert verdicts(comparison)["latency_s"] == verdict


def test_where_nothing_got_slower_nothing_is_launched(store, monkeypatch):
    monkeypatch.setattr(confirming, "_measured_again", lambda *rest: pytest.fail("launched"))
    make_run(store, "after")
    found = check(store, "after")
    folder = store.path.parent
    assert (
        confirming.confirmed(
            found, "after", folder, "", "main", lambda line: None, margin=0.05, threshold=0.0
        )
        is found
    )


@pytest.mark.slow
def test_a_run_is_confirmed_by_fresh_launches_of_its_own_matrix(bench, command, tmp_path):
    matrix, results = tmp_path / "mine.toml", tmp_path / "results"
    matrix.write_text(MATRIX)
    done = bench("run", "--matrix", matrix, "--results", results)
    assert done.returncode == 0, done.stdout + done.stderr
    assert command("baseline", "save", "main", "--results", results).returncode == 0
    assert command("check", "--baseline", "main", "--confirm", "--results", results).returncode == 0
    _plant(results / "baselines" / "main.json")
    done = bench("check", "--baseline", "main", "--confirm", "--results", results)
    if "no interval holds" in done.stdout:
        pytest.skip("launches carry over on this machine now: nothing is told, and nothing to confirm")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "confirmed by run" in done.stdout
    with closing(Store.open(results, create=False)) as store:
        fresh = store.measurements(store.find_run(None))
    assert len(fresh[(fresh["kind"] == "infer") & (fresh["metric"] == "latency_s")]) >= 6


def _plant(path: Path) -> None:
    """Let a baseline say that its inference was much faster than it is."""
    content = json.loads(path.read_text())
    for stage, metrics in content["stages"].items():
        if stage.startswith("infer "):
            entry = metrics["latency_s"]
            entry["launches"] = [seconds / FASTER for seconds in entry["launches"]]
    path.write_text(json.dumps(content))
