"""The table of output formats: found in their folder, added by plug-ins, kept inside the report's folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.plugins import load_plugins
from bench.results.store import Store
from reports.content import Content
from reports.formats.table import FORMATS, FormatTable, refuse_outside, required
from reports.write import write
from techniques.registry import TechniqueError

PLUGIN = """
from reports.formats.table import FORMATS

def render(content):
    yield "verdict.txt", "\\n".join(content.verdict).encode()

FORMATS.add("verdict-text", render, about="verdict.txt: the verdict alone")
"""


@pytest.fixture
def formats(monkeypatch: pytest.MonkeyPatch) -> FormatTable:
    """Keep what a test adds to the table out of other tests."""
    FORMATS.rows()
    monkeypatch.setattr(FORMATS, "_rows", dict(FORMATS._rows))
    return FORMATS


def nothing(content: Content) -> Iterator[tuple[str, bytes]]:
    yield from ()


def test_every_format_of_the_folder_is_a_row_and_the_page_comes_last() -> None:
    names = [row.name for row in FORMATS.rows()]
    assert {"csv", "figures", "html", "json", "markdown", "parquet"} <= set(names)
    assert names[-1] == "html"


def test_what_is_written_on_request_is_no_part_of_a_report(report: Path) -> None:
    assert {"excel", "latex"} <= {row.name for row in FORMATS.rows() if row.on_request}
    assert not list(report.rglob("*.xlsx")) and not list(report.rglob("*.tex"))


def test_a_format_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    message = r"--format excel requires openpyxl: pip install 'dl-efficiency-bench\[export\]'"
    with pytest.raises(BenchError, match=message):
        required("openpyxl", "export", "--format excel")


def test_the_rows_say_which_files_a_report_has(report: Path) -> None:
    told = " ".join(row.about.partition(":")[0] for row in FORMATS.rows())
    for path in report.rglob("*"):
        if path.is_file():
            known = (path.name, f"{path.parent.name}/*{path.suffix}")
            assert any(name in told for name in known), path


def test_a_plug_in_of_one_file_adds_a_format(formats: FormatTable, store: Store, tmp_path: Path) -> None:
    plugin = tmp_path / "verdict_text.py"
    plugin.write_text(PLUGIN)
    load_plugins([plugin])
    folder = write(store, "run-1", tmp_path / "report").parent
    assert "24 cells: 20 ok" in (folder / "verdict.txt").read_text()


def test_a_format_that_is_wrong_is_one_line(formats: FormatTable) -> None:
    for wrong, message in (
        (lambda: formats.add("csv", nothing, about="x"), "format 'csv' is already registered: tables"),
        (lambda: formats.add("My Format", nothing, about="x"), "a name has only"),
        (lambda: formats.add("mine", "render", about="x"), "render must be a function"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TechniqueError, match=message):
            wrong()


@pytest.mark.parametrize("path", ["../report.html", "/etc/passwd", "tables/../../x", ""])
def test_a_format_writes_nothing_outside_of_its_folder(formats: FormatTable, path: str) -> None:
    with pytest.raises(TechniqueError, match="inside the report's folder"):
        refuse_outside(formats.add("escaping", nothing, about="x"), path)


def test_adding_a_format_imports_nothing_that_takes_time() -> None:
    heavy = {"pandas", "pyarrow", "jinja2", "matplotlib"}
    code = f"import reports.formats.table, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
