r"""`tables.tex`: the short tables of a report for a paper, with booktabs' rules.

Names keep their characters, so Greek or Chinese ones need XeLaTeX or LuaLaTeX. The signs that tables use
themselves are written as commands, which pdfLaTeX has too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bench.formatting import visible
from reports.content import Content
from reports.formats.table import FORMATS, File
from reports.grids.grid import Grid

_COMMANDS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "–": r"\textendash{}",
    "µ": r"\textmu{}",
    "×": r"\texttimes{}",
    "±": r"\textpm{}",
    "†": r"\textdagger{}",
    "²": r"\texttwosuperior{}",
    "≥": r"\ensuremath{\ge}",
    "≤": r"\ensuremath{\le}",
    "∞": r"\ensuremath{\infty}",
    "◆": r"\ensuremath{\bullet}",
    "◇": r"\ensuremath{\circ}",
}

_SPECIAL = re.compile("|".join(map(re.escape, _COMMANDS)))
_LIGATURE = re.compile(r"([-',])(?=\1)")

_FIRST_LINES = ("% needs \\usepackage{booktabs}, and \\usepackage[T1]{fontenc} with pdfLaTeX",)


def render(content: Content) -> Iterator[File]:
    """Yield the one file."""
    yield "tables.tex", ("\n".join((*_FIRST_LINES, *_tables(content.short))) + "\n").encode()


def escape_latex(text: str) -> str:
    """Make text mean itself in LaTeX: no commands, one line, and two hyphens are no dash."""
    line = visible(" ".join(text.split()))
    return _LIGATURE.sub(r"\1{}", _SPECIAL.sub(lambda found: _COMMANDS[found[0]], line))


def _tables(grids: Iterable[Grid]) -> Iterator[str]:
    for number, grid in enumerate(grids, start=1):
        yield from ("", r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(grid.title)}}}")
        yield rf"\label{{tab:{grid.name}-{number}}}"
        yield rf"\begin{{tabular}}{{{'l' * len(grid.columns)}}}"
        yield from (r"\toprule", _row(grid.columns), r"\midrule")
        yield from (_row(entry.text for entry in row) for row in grid.rows)
        yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}")


def _row(fields: Iterable[str]) -> str:
    texts = [escape_latex(field) for field in fields]
    # A row that began with a bracket or a star would be an argument of the line break before it.
    guarded = [f"{{}}{text}" if text.startswith(("[", "*")) else text for text in texts]
    return " & ".join(guarded) + r" \\"


FORMATS.add(
    "latex",
    render,
    about="tables.tex: the short tables for a paper, with booktabs",
    on_request=True,
    draws=False,
)
