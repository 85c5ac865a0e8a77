"""A metric and a workload of one plug-in file, from the run to the regression check."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from bench.metrics import METRICS
from bench.results.store import Store

MATRIX = """
about = "One cell"

[train]
workload = "squares"
optimizer = "tuned"

[infer]
compression = "none"
backend = "cpu-eager"
"""


@pytest.fixture(scope="module")
def results(bench, plugins, tmp_path_factory) -> Path:
    """Run the plug-in's workload in two steps; the numbers of a smoke run do for where they are shown."""
    folder = tmp_path_factory.mktemp("dice")
    (folder / "squares.toml").write_text(MATRIX)
    done = bench(
        *("run", "--matrix", folder / "squares.toml", "--plugin", plugins / "dice.py", "--smoke"),
        *("--results", folder / "results"),
    )
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(folder / "results" / "bench.sqlite") as connection:
        # A smoke run has no figures and keeps no baseline.
        connection.execute("UPDATE runs SET request = json_set(request, '$.smoke', json('false'))")
    assert "dice" not in {row.name for row in METRICS.added()}, "this process has not loaded the plug-in"
    return folder / "results"


@pytest.fixture(scope="module")
def report(command, results) -> Path:
    done = command("report", "--results", results)
    assert done.returncode == 0, done.stderr
    return results / Store.open(results, create=False).find_run(None)


def test_the_list_of_metrics_has_it(bench, plugins):
    done = bench("list", "metrics", "--plugin", plugins / "dice.py")
    line = next(line for line in done.stdout.splitlines() if line.startswith("dice "))
    assert line.split()[:4] == ["dice", "share", "seeded", "higher"]


def test_every_file_of_the_report_has_it_without_the_plug_in(report):
    page, markdown = (report / "report.html").read_text(), (report / "report.md").read_text()
    for text in (page, markdown):
        assert "Dice coefficient" in text and "80 % dice" in text and "pixels marked" in text
    tables = json.loads((report / "report.json").read_text())["tables"]
    for name in ("training", "inference"):
        csv = pd.read_csv(report / "tables" / f"{name}.csv")
        parquet = pd.read_parquet(report / "tables" / f"{name}.parquet")
        assert 0 <= csv["dice"][0] <= 1 and csv["dice"][0] == csv["quality"][0]
        assert tables[name]["data"][0]["dice"] == parquet["dice"][0] == csv["dice"][0]
        (field,) = (field for field in tables[name]["fields"] if field["name"] == "dice")
        assert (field["type"], field["unit"]) == ("number", "share")
        assert csv["quality_metric"][0] == "dice" and "marked" in csv


def test_its_name_is_on_the_axis_of_the_figure(report):
    (figure,) = (report / "plots").glob("training-curves-*.svg")
    assert "Dice coefficient in validation" in figure.read_text()


def test_show_has_it_without_the_plug_in(command, results):
    cell = Store.open(results, create=False).cells(next(results.glob("*-*/report.html")).parent.name)[0].name
    done = command("show", cell, "--results", results)
    assert any(line.strip().startswith("dice: ") and "%" in line for line in done.stdout.splitlines())


def test_a_worse_one_is_a_regression_without_the_plug_in(command, results):
    assert command("baseline", "save", "main", "--results", results).returncode == 0
    same = command("check", "--baseline", "main", "--results", results)
    assert same.returncode == 0, same.stdout
    assert "not compared" not in same.stdout
    path = results / "baselines" / "main.json"
    content = json.loads(path.read_text())
    (stage,) = (name for name in content["stages"] if name.startswith("evaluate"))
    content["stages"][stage]["dice"]["value"] += 0.01
    path.write_text(json.dumps(content))
    worse = command("check", "--baseline", "main", "--results", results)
    assert worse.returncode == 1 and f"regression  {stage} dice: " in worse.stdout
