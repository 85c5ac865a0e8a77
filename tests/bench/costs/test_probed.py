"""Probes: kept for the next folder; and a matrix that is probed, run and held against its prediction."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.costs.comparison import compare
from bench.costs.probed import keep_probes, read_probes
from bench.costs.rates import Rates
from bench.matrix.reading import read_matrix
from bench.plan.planner import make_plan
from bench.results.store import LaunchCost, Store

MATRIX = Path(__file__).with_name("small.toml")


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
