"""`bench sensitivity CELL`: the layers of a run's model, most sensitive first; and cells that keep layers."""

from __future__ import annotations

import csv

import pytest

CELL = "digits/adam/int8-dynamic@cpu-eager"
KEPT = "digits/adam/int8-dynamic:keep=classifier.3@cpu-eager"
MATRIX = """
[train]
workload = "digits"
optimizer = "adam"
[infer]
compression = ["int8-dynamic", "int8-dynamic:keep=classifier.3", "int8-dynamic:keep=nowhere"]
backend = "cpu-eager"
"""


@pytest.fixture(scope="module")
def run(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sensitivity")
    (folder / "matrix.toml").write_text(MATRIX)
    return bench(
        "run", "--matrix", folder / "matrix.toml", "--smoke", "--results", folder / "results"
    ), folder


def test_layers_are_printed_and_written_with_a_plot(run, bench):
    _, folder = run
    results = folder / "results"
    shown = bench("sensitivity", CELL, "--bits", "4,2", "--sparsity", "0.9", "--results", results)
    assert shown.returncode == 0, shown.stderr
    assert all(column in shown.stdout for column in ("layer", "4 bits", "2 bits", "90 % zeros"))
    (table,) = results.glob("*/sensitivity/*.csv")
    rows = list(csv.DictReader(table.open()))
    layers = {row["layer"] for row in rows}
    assert len(rows) == 3 * len(layers) and len(layers) > 2
    assert {(row["change"], float(row["amount"])) for row in rows} == {
        ("bits", 4),
        ("bits", 2),
        ("sparsity", 0.9),
    }
    for layer in layers:
        errors = {row["amount"]: float(row["relative_error"]) for row in rows if row["layer"] == layer}
        assert errors["2"] > errors["4"] > 0
    assert table.with_suffix(".svg").read_text().lstrip().startswith("<?xml")


def test_a_cell_that_keeps_layers_says_which_and_a_name_that_is_none_is_skipped_with_a_reason(run, bench):
    done, folder = run
    shown = bench("show", KEPT, "--results", folder / "results")
    assert "kept_layers" in shown.stdout, shown.stdout + shown.stderr + done.stderr
    skipped = bench(
        "show", "digits/adam/int8-dynamic:keep=nowhere@cpu-eager", "--results", folder / "results"
    )
    assert "the model has no module 'nowhere'" in skipped.stdout


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--bits", "four", "--bits: 'four' must be numbers with commas between, as 4,2"),
        ("--bits", "9", "--bits: '9' must be integers from 2 to 8"),
        ("--bits", "2.5", "--bits: '2.5' must be integers from 2 to 8"),
        ("--sparsity", "1.5", "--sparsity: '1.5' must be numbers from 0 to 1"),
        ("--sparsity", "nan", "--sparsity: 'nan' must be numbers from 0 to 1"),
    ],
)
def test_a_wrong_number_is_one_line(command, tmp_path, option, value, expected):
    done = command("sensitivity", CELL, option, value, "--results", tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith(expected)
