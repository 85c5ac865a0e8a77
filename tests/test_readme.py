"""The README is short, and what it shows is what there is; `tests/docs` runs its blocks."""

from __future__ import annotations

import re

from tests.support.pages import PAGES_FOLDER, README, blocks

TEXT = README.read_text()


def test_the_readme_fits_150_lines():
    assert len(TEXT.splitlines()) <= 150


def test_the_readme_shows_a_figure_a_table_and_the_two_commands():
    assert re.search(r"!\[.*\]\(results/examples/.*\.svg\)", TEXT)
    commands = [words[:2] for block in blocks(TEXT) if block.language == "sh" for words in block.commands()]
    assert ["make", "bench"] in commands and ["make", "test"] in commands


def test_the_readme_s_rows_of_results_are_those_of_the_dated_page():
    dated = (PAGES_FOLDER / "results" / "quick.md").read_text()
    for row in re.findall(r"^\| (?:none|int8-\w+) \|.*$", TEXT, re.MULTILINE):
        assert row in dated, row
