"""A matrix with schedules, clipping and averages, from its plan through a run to the report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from reports.frames.loading import load

MATRIX = """
about = "Two schedules, with and without an average"

[train]
workload = "digits"
optimizer = "momentum"
schedule = ["constant", "cosine:warmup=0.5"]
clip = "norm:0.01"
average = ["none", "ema:0.9"]

[infer]
compression = "none"
backend = "cpu-eager"
"""


@pytest.fixture(scope="module")
def results(bench, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("regime")
    (folder / "mine.toml").write_text(MATRIX)
    done = bench("run", "--matrix", folder / "mine.toml", "--smoke", "--results", folder / "results")
    assert done.returncode == 0, done.stderr
    return folder / "results"


def test_every_cell_runs_and_is_in_the_report(results: Path) -> None:
    (report,) = results.glob("*-*/report.html")
    table = pd.read_csv(report.parent / "tables" / "training.csv", keep_default_na=False, na_values=[""])
    assert set(table["state"]) == {"ok"} and len(table) == 4
    assert set(zip(table["schedule"], table["average"], strict=True)) == {
        (schedule, average)
        for schedule in ("constant", "cosine:warmup=0.5")
        for average in ("none", "ema:0.9")
    }
    assert set(table["clip"]) == {"norm:0.01"} and set(table["clip_binding_share"]) == {1.0}
    assert (table["average_bytes"].notna() == (table["average"] != "none")).all()
    text = report.read_text()
    assert "cosine:warmup=0.5" in text and "norm:0.01" in text


def test_the_records_have_the_axes_and_the_rate_at_the_evaluations(results: Path) -> None:
    cells = load(results=results, kind="cells")
    assert {"schedule", "clip", "average"} <= set(cells.columns)
    values = load(results=results)
    rates = values[values["metric"] == "curve_rate"]
    assert list(rates["value"]) == [1.0] * 4  # the first of two steps is the warm-up


def test_the_tables_are_listed(command) -> None:
    for table, names in (
        ("schedules", ("constant", "cosine", "linear", "wsd", "one-cycle")),
        ("clips", ("none", "norm")),
        ("averages", ("none", "ema", "mean")),
    ):
        done = command("list", table)
        assert done.returncode == 0
        assert {line.split()[0] for line in done.stdout.splitlines() if line.strip()} >= set(names)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("schedule = 'cosin'", "did you mean 'cosine'"),
        ("clip = 'norm:x'", "limit: 'x' must be a number"),
    ],
)
def test_a_mistake_ends_with_one_line_and_code_2(command, tmp_path: Path, axes: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MATRIX.replace("[infer]", f"{axes}\n[infer]").replace('clip = "norm:0.01"\n', "", 1))
    if axes.startswith("schedule"):
        path.write_text(path.read_text().replace('schedule = ["constant", "cosine:warmup=0.5"]\n', ""))
    done = command("run", "--matrix", path, "--dry-run", "--results", tmp_path / "results")
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
