"""An incomplete count of FLOPs is marked wherever it, or what is derived from it, is shown."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bench.analysis.roofline import roofline
from bench.commands.profile import _roofline
from bench.commands.show import show
from bench.metrics import METRICS
from bench.records import Measurement, Result
from bench.regression import baseline
from bench.regression import verdict as regression
from bench.results.store import Store
from reports.content import Content, gather
from reports.formats.html import render_html
from reports.formats.markdown import render_markdown
from reports.frames.roofline import infer_point
from reports.frames.run import read_frames
from reports.frames.view import RunView, read
from reports.grids.grid import Grid
from reports.grids.run import all_grids
from reports.plots import draw_all
from reports.prose.answers import answers
from reports.prose.verdict import verdict
from reports.write import write
from tests.support.short_tables import short_tables
from tests.support.synthetic_run import Synthetic, build, key_of

LACKING = "no formula for aten._fft_r2c"
MARK = "≥ "
TOLD = "incomplete: aten._fft_r2c"
TRAINING = {
    *("FLOP/s", "% of peak (MFU)", "% of peak with recomputation (HFU)", "operations per byte (estimate)"),
    *("FLOPs to target", "forward FLOPs", "backward FLOPs"),
}
INFERENCE = {
    *("operations/s", "% of peak (MFU)", "operations per byte (estimate)", "FLOPs dense", "FLOPs effective"),
}
DERIVED = (
    *("achieved_operations_per_s", "operations_per_byte", "utilization", "hardware_utilization"),
    *("roofline_binds", "roofline_share", "flops_to_target", "flops_incomplete", "flops_incomplete_in"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run whose models trained by adam hold an operator without a formula; momentum's do not."""
    made_up = Synthetic(
        optimizers=("adam", "momentum"), recomputed_flops=0.0, incomplete={"digits/adam": LACKING}
    )
    return build(tmp_path_factory.mktemp("results"), made_up)


@pytest.fixture(scope="module")
def view(store: Store) -> RunView:
    return read(store, "run-1")


@pytest.fixture(scope="module")
def content(store: Store) -> Content:
    return gather(store, "run-1")


def grid_of(store: Store, name: str) -> Grid:
    return next(grid for grid in all_grids(read_frames(read(store, "run-1"))) if grid.name == name)


def marked(grid: Grid, optimizer: str) -> set[str]:
    """Return the columns that mark a number as a lower bound in rows of this optimizer."""
    found = set()
    for row in grid.rows:
        if any(optimizer in entry.text for entry in row[:3]):
            for heading, entry in zip(grid.columns, row, strict=True):
                if entry.text.startswith(MARK):
                    assert entry.detail == TOLD and entry.sort is not None
                    found.add(heading)
    return found


def test_every_number_of_a_table_that_rests_on_the_count_is_a_lower_bound(store: Store) -> None:
    # The optimizer's own part of a step is whole, and so is what is computed again.
    assert marked(grid_of(store, "training"), "adam") == TRAINING
    assert marked(grid_of(store, "inference"), "digits/adam") == INFERENCE


def test_whole_counts_have_no_mark(store: Store) -> None:
    assert marked(grid_of(store, "training"), "momentum") == set()
    assert marked(grid_of(store, "inference"), "digits/momentum") == set()


def test_what_binds_a_call_is_not_told_from_an_incomplete_count(store: Store) -> None:
    grid = grid_of(store, "training")
    column = grid.columns.index("bound by")
    by_optimizer = {row[grid.columns.index("optimizer")].text: row[column] for row in grid.rows}
    assert by_optimizer["momentum"].text == "compute"
    assert by_optimizer["adam"].text in ("compute", "–")


def test_the_files_of_a_report_have_the_mark(store: Store, tmp_path: Path) -> None:
    write(store, "run-1", tmp_path)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    for shown in (page, text):
        assert MARK in shown and "aten" in shown
    assert f'"{TOLD}"' in page, "in the data of its table"
    for name in ("training", "inference"):
        with (tmp_path / "tables" / f"{name}.csv").open() as file:
            for row in csv.DictReader(file):
                counted = row.get("dense_flops") or row.get("forward_flops")
                lacking = LACKING if counted and row["optimizer"] == "adam" else ""
                assert row["flops_incomplete"] == lacking
    with (tmp_path / "tables" / "training.csv").open() as file:
        parts = {row["optimizer"]: row["flops_incomplete_in"] for row in csv.DictReader(file)}
    assert parts == {"adam": "forward_flops, backward_flops", "momentum": ""}


def test_the_page_and_markdown_explain_the_mark(content: Content) -> None:
    for rendered in (render_html(content), render_markdown(content)):
        assert "≥ lower bound: the FLOP count is incomplete" in rendered


def test_the_verdict_says_which_workload_is_incomplete_and_that_no_ranking_rests_on_it(
    view: RunView, content: Content
) -> None:
    (sentence,) = [text for text in content.verdict if "incomplete" in text]
    assert sentence.startswith(f"digits: FLOP counts are incomplete ({LACKING})")
    assert "no ranking uses them" in sentence


def test_no_ranking_answer_plot_or_short_table_rests_on_a_count(
    store: Store, view: RunView, content: Content
) -> None:
    frames = read_frames(view)
    columns = [*METRICS.operation_counts, *DERIVED]
    without = {
        name: frame.assign(**{column: None for column in columns if column in frame})
        for name, frame in frames.items()
    }
    assert answers(without) == answers(frames)
    assert verdict(view, without) == [text for text in verdict(view, frames) if "incomplete" not in text]
    # Those that are of counts leave out what is incomplete, or show that it is a lower bound.
    drawn, known = (
        {plot.name: plot.png for plot in plots if not plot.name.startswith(("training-curves", "roofline"))}
        for plots in (draw_all(without, view), content.plots)
    )
    assert drawn == known and drawn
    words = {word for table in short_tables(store, "run-1") for word in table.columns}
    assert not any("FLOP" in word or "peak" in word for word in words)


def test_a_count_that_failed_has_its_reason_in_the_table(tmp_path: Path) -> None:
    why = "could not be counted: RecursionError: too deep"
    broken = Result(
        "ok",
        measurements=(
            Measurement("dense_flops", None, reason=why),
            Measurement("effective_flops", None, reason=why),
            Measurement("flops_complete", 0.0, reason=why),
            Measurement("artifact_bytes", 1e6),
        ),
    )
    store = build(tmp_path, Synthetic(optimizers=("adam",), results={"lower": broken}))
    grid = grid_of(store, "inference")
    shown = {row[grid.columns.index("FLOPs dense")] for row in grid.rows}
    assert ("–", why) in {(entry.text, entry.detail) for entry in shown}


def test_a_record_without_reasons_of_its_own_counts_is_marked_whole(tmp_path: Path) -> None:
    old = Result(
        "ok",
        measurements=(
            Measurement("forward_flops", 1e9),
            Measurement("backward_flops", 2e9),
            Measurement("optimizer_flops", 0.0),
            Measurement("flops_complete", 0.0, reason=LACKING),
        ),
    )
    store = build(tmp_path, Synthetic(optimizers=("adam",), results={"step": old}))
    assert {"forward FLOPs", "optimizer FLOPs"} <= marked(grid_of(store, "training"), "adam")


def test_a_point_of_an_incomplete_count_is_bound_by_nothing_but_compute() -> None:
    whole = roofline(1e9, 1e9, 1.0, 1e12, 1e10)
    assert whole is not None and whole.binds == "memory" and not whole.incomplete
    lacking = roofline(1e9, 1e9, 1.0, 1e12, 1e10, incomplete=LACKING)
    assert lacking is not None and lacking.binds is None and lacking.share is None
    by_compute = roofline(1e12, 1e9, 2.0, 1e12, 1e10, incomplete=LACKING)
    assert by_compute is not None and by_compute.binds == "compute" and by_compute.share == 0.5


def test_the_roofline_of_a_profile_has_the_mark(view: RunView) -> None:
    labels = ("infer digits/dense@cpu-eager 1", "lower digits/{}/0/none@cpu-eager 1")

    def line(optimizer: str) -> str:
        point = infer_point(view, key_of(labels[0]), key_of(labels[1].format(optimizer)))
        assert point is not None
        return _roofline(point)

    assert "≥" not in line("momentum") and "incomplete" not in line("momentum")
    assert line("adam").count("≥") >= 3 and line("adam").endswith(f"FLOPs are incomplete: {LACKING}")


def test_the_printed_record_has_the_mark(
    store: Store, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    show(key_of("step digits/adam"), "run-1", store.path.parent)
    printed = capsys.readouterr().out
    assert "forward_flops: ≥ 1.00 GFLOP" in printed and "optimizer_flops: 0 FLOP" in printed


@pytest.mark.parametrize("lacking_in", ["the baseline", "this run"])
def test_a_difference_between_counts_is_not_judged_where_one_is_incomplete(
    tmp_path: Path, lacking_in: str
) -> None:
    whole = build(tmp_path / "whole", Synthetic(optimizers=("adam",)))
    part = build(tmp_path / "part", Synthetic(optimizers=("adam",), incomplete={"digits/adam": LACKING}))
    before, now = (part, whole) if lacking_in == "the baseline" else (whole, part)
    results = tmp_path / "results"
    content = baseline.collect(before, "run-1")
    for entries in content["stages"].values():
        if "dense_flops" in entries:
            entries["dense_flops"]["value"] *= 0.5 if lacking_in == "the baseline" else 2
    (results / "baselines").mkdir(parents=True)
    (results / "baselines" / "b.json").write_text(json.dumps(content))
    comparison = regression.check(now, "run-1", "b", results)
    found = [finding for finding in comparison.findings if finding.metric == "dense_flops"]
    assert {finding.verdict for finding in found} == {"not comparable"}
    assert all(f"incomplete in {lacking_in}" in finding.text for finding in found)
    assert any("FLOPs of" in note and "are incomplete" in note for note in comparison.notes)
    completeness = {finding.verdict for finding in comparison.findings if finding.metric == "flops_complete"}
    assert completeness == {"improvement" if lacking_in == "the baseline" else "regression"}
