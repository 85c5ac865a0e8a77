"""LaTeX tables: text means itself, read back by a parser of LaTeX."""

from __future__ import annotations

import re

import pytest

from bench.results.store import Store
from reports.content import gather
from reports.formats.latex import escape_latex, render

READ = pytest.importorskip("pylatexenc.latex2text")

OF_THE_KERNEL = {"textless": "<", "textgreater": ">", "textquotedbl": '"', "textasciicircum": "^"}
"""Commands that every LaTeX has, and the parser lacks or prints otherwise."""

TEXTS = (
    "plain text, 1.5 ms (2 %)",
    r"a\b & c_d ^ ~ $x$ #1 {y}",
    r"\input{/etc/passwd}\write18{id}",
    "--- and -- and 'quoted' ''twice'' ,,low,, `tick`",
    '<b>html</b> "quotes"',
    "=cmd()|calc",
    "日本 ñ é",
    "[bracket] * star",
    "n" * 300,
)


def as_text(latex: str) -> str:
    """Return what LaTeX would print."""
    known = READ.get_default_latex_context_db()
    commands = [READ.MacroTextSpec(name, simplify_repl=text) for name, text in OF_THE_KERNEL.items()]
    known.add_context_category("kernel", macros=commands, prepend=True)
    reader = READ.LatexNodes2Text(latex_context=known, math_mode="text", strict_latex_spaces=True)
    return str(reader.latex_to_text(latex))


@pytest.mark.parametrize("text", TEXTS)
def test_text_means_itself(text: str) -> None:
    assert as_text(escape_latex(text)) == text


def test_two_lines_and_what_acts_on_a_terminal_become_one_harmless_line() -> None:
    escaped = escape_latex("two\nlines\tand \x1b[31m \u202e")
    assert escaped.isprintable() and as_text(escaped) == r"two lines and \x1b[31m \u202e"


def test_each_short_table_is_a_table_with_as_many_fields_in_each_row(store: Store) -> None:
    ((path, data),) = render(gather(store, "run-1", figures=False))
    text = data.decode()
    assert path == "tables.tex" and text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert "Training to the target: digits" in text and r"onnxruntime & 93.00 \%" in text
    for body in re.findall(r"\\begin\{tabular\}\{(l+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        columns, rows = len(body[0]), [line for line in body[1].splitlines() if line.endswith(r"\\")]
        assert rows and all(len(re.split(r"(?<!\\)&", row)) == columns for row in rows)
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels))
