"""Names in a report act nowhere: not in a browser, not in a terminal, not in a spreadsheet."""

from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.formatting import visible
from bench.results.store import Store
from reports.write import write
from tests.support.short_tables import short_tables
from tests.support.synthetic_run import Synthetic, build

LONG = "n" * 250
NAMES = (LONG, "日本", "中国", "=HYPERLINK(1)", "+1", "-2+3", "@SUM(1)", "\x1b[31mred", "\u202egpj.exe")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none", "prune-magnitude:0.5"),
        backends=("cpu-eager",),
        workloads=NAMES,
        notes=("a \x1b[2J note",),
    )
    return build(tmp_path_factory.mktemp("hostile"), made_up)


@pytest.fixture(scope="module")
def folder(store: Store) -> Path:
    folder = store.path.parent / "run-1"
    write(store, "run-1", folder)
    return folder


def test_no_text_of_a_csv_file_is_a_formula_and_numbers_stay_numbers(folder: Path):
    losses = []
    for path in (folder / "tables").glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                losses += [row["loss_points"]] if "loss_points" in row else []
                for value in filter(None, row.values()):
                    assert is_number(value) or value[0] not in "=+-@\t\r", (path.name, value)
    assert any(value.startswith("-") for value in losses if value) or any(map(is_number, losses))
    assert "'=HYPERLINK(1)" in (folder / "tables" / "inference.csv").read_text()


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_no_file_of_a_report_has_a_character_that_acts_or_hides(folder: Path):
    for path in [folder / "report.html", folder / "report.md", *(folder / "tables").glob("*.csv")]:
        text = path.read_text()
        assert visible(text) == text, path.name
    assert r"\x1b[31mred" in (folder / "report.html").read_text()


def test_every_workload_has_figures_of_its_own_well_formed_whatever_the_names(folder: Path):
    figures = list((folder / "plots").glob("*.svg"))
    assert len([path for path in figures if path.name.startswith("quality-latency")]) == len(NAMES)
    for path in figures:
        ElementTree.parse(path)


def test_negative_numbers_are_written_as_they_are(store: Store, folder: Path):
    with (folder / "tables" / "tradeoff.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(is_number(row["loss_points"]) for row in rows if row["loss_points"])
    assert not any(row["loss_points"].startswith("'") for row in rows)
    assert short_tables(store, "run-1")
