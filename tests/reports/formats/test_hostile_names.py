"""Names in a report act nowhere: not in a browser, a terminal, a spreadsheet, nor in Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from bench.formatting import visible
from bench.records import Measurement
from bench.results.store import Store
from reports.content import Content, gather
from reports.formats import excel, latex
from reports.plots import draw_all
from reports.write import write_content
from tests.support.hostile import ANSI, BIDI, FORMULAS, HTML, NAMES
from tests.support.short_tables import short_tables
from tests.support.synthetic_run import Synthetic, build

SHOWN = {visible(name) for name in NAMES}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none", "prune-magnitude:0.5"),
        backends=("cpu-eager",),
        workloads=NAMES,
        notes=("a \x1b[2J note", HTML),
    )
    store = build(tmp_path_factory.mktemp("hostile"), made_up)
    yield store
    store.close()


@pytest.fixture(scope="module")
def content(store: Store) -> Content:
    return gather(store, "run-1", figures=False)


@pytest.fixture(scope="module")
def folder(content: Content, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_content(content, tmp_path_factory.mktemp("written") / "run-1").parent


def test_no_text_of_a_csv_file_is_a_formula_and_every_name_is_found_again(folder: Path) -> None:
    for path in (folder / "tables").glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for value in filter(None, row.values()):
                    assert is_number(value) or value[0] not in "=+-@\t\r", (path.name, value)
    table = pd.read_csv(folder / "tables" / "inference.csv", keep_default_na=False, dtype=str)
    marked = {f"'{name}" if name in FORMULAS else name for name in SHOWN}
    assert set(table["workload"]) == marked and len(table) == 2 * len(NAMES)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_no_file_of_a_report_has_a_character_that_acts_or_hides(folder: Path) -> None:
    for path in [folder / "report.html", folder / "report.md", *(folder / "tables").glob("*.csv")]:
        text = path.read_text()
        assert visible(text) == text, path.name
    assert r"\x1b[31mred" in (folder / "report.html").read_text()
    pd.testing.assert_series_equal(
        pd.read_parquet(folder / "tables" / "inference.parquet")["workload"].drop_duplicates(),
        pd.Series([visible(name) for name in NAMES], index=range(0, 2 * len(NAMES), 2), name="workload"),
        check_dtype=False,
    )


def tokens_of(markdown: str) -> list[Any]:
    """Return the tokens of Markdown as a code host reads it, tables included."""
    reader = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    found = reader.parse(markdown)
    return [token for outer in found for token in (outer, *(outer.children or ()))]


def test_in_markdown_a_name_is_text_in_one_field_of_its_table(folder: Path) -> None:
    markdown = (folder / "report.md").read_text()
    tokens = tokens_of(markdown)
    assert not {"html_block", "html_inline", "image", "em_open", "strong_open", "code_inline"} & {
        token.type for token in tokens
    }
    links = [str(token.attrs["href"]) for token in tokens if token.type == "link_open"]
    assert links and all(link.startswith("tables/") for link in links)
    fields = {
        # A space of no width keeps code hosts from mentioning somebody.
        "".join(child.content for child in inner.children).replace("@\u200b", "@")
        for cell, inner in pairwise(tokens)
        if cell.type == "td_open" and inner.type == "inline"
    }
    assert {" ".join(name.split()) for name in SHOWN} <= fields
    assert not re.search(r"(?<!\w)@\w", markdown)
    tables = re.findall(r"(?:^\|.*\|\n)+", markdown, re.MULTILINE)
    assert tables
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1, table[:200]


def test_in_excel_a_name_is_a_text(content: Content) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    ((_, data),) = excel.render(content)
    sheet = openpyxl.load_workbook(io.BytesIO(data))["inference"]
    headings, *rows = sheet.iter_rows()
    place = [cell.value for cell in headings].index("workload")
    assert {row[place].value for row in rows} == SHOWN
    assert {row[place].data_type for row in rows} == {"s"}


def test_in_latex_a_name_is_what_would_be_printed(content: Content) -> None:
    reader = pytest.importorskip("pylatexenc.latexwalker")
    ((_, data),) = latex.render(content)
    text = data.decode()
    assert visible(text) == text
    titles = re.findall(r"^\\caption\{(.*)\}$", text, re.MULTILINE)
    trained = [title for title in titles if title.startswith("Training to the target: ")]
    expected = [f"Training to the target: {' '.join(visible(name).split())}" for name in NAMES]
    assert trained == [latex.escape_latex(title) for title in expected]
    nodes = [node for title in titles for node in reader.LatexWalker(title).get_latex_nodes()[0]]
    plain = {"LatexCharsNode", "LatexMacroNode", "LatexGroupNode"}
    assert {type(node).__name__ for node in nodes} <= plain, "no maths, environment or ligature"
    macros = {node.macroname for node in nodes if hasattr(node, "macroname")}
    assert all(name in "&%$#_{}" or name.startswith("text") for name in macros), macros


def test_in_a_terminal_every_line_is_text(store: Store, content: Content) -> None:
    lines = list(content.summary)
    for table in short_tables(store, "run-1"):
        lines += [table.title, *(field for row in table.rows for field in row)]
    assert any(r"\x1b[31mred" in line for line in lines) and any("gpj.exe" in line for line in lines)
    assert all(line.isprintable() and BIDI[0] not in line for line in lines)


def test_every_workload_has_a_figure_of_its_own_well_formed_whatever_the_names(tmp_path: Path) -> None:
    names = (HTML, ANSI, "日本", "中国")
    made_up = Synthetic(("adam",), ("none",), ("cpu-eager",), workloads=names)
    few = gather(build(tmp_path, made_up), "run-1", figures=False)
    own = {name: frame.iloc[:0] for name, frame in few.frames.items()}
    plots = draw_all({**own, "training": few.frames["training"]})
    assert len({plot.name for plot in plots}) == len(plots) == len(names)
    for plot in plots:
        ElementTree.fromstring(plot.svg)


def test_numbers_that_are_none_stand_nowhere_as_a_word(tmp_path: Path) -> None:
    nothing = tuple(Measurement(name, math.nan) for name in ("quality", "accuracy"))
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none", "int8-static"),
        measured={"evaluate": nothing, "infer": (Measurement("latency_s", math.nan, n=500),)},
    )
    found = gather(build(tmp_path / "store", made_up), "run-1", figures=False)
    folder = write_content(found, tmp_path / "run-1").parent
    markdown = (folder / "report.md").read_text()
    for line in [*markdown.splitlines(), *found.summary]:
        assert not re.search(r"\b(nan|NaN|inf|None|null)\b", line), line
    table = pd.read_csv(folder / "tables" / "inference.csv", keep_default_na=False, dtype=str)
    assert set(table["quality"]) == set(table["latency_s"]) == {""} and "–" in markdown
