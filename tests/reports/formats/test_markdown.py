"""Text means itself in Markdown: no markup, no HTML, no further column, one line."""

from __future__ import annotations

import pytest

from bench.formatting import escape_markdown as escape


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain text, 1.5 ms (2 %)", "plain text, 1.5 ms (2 %)"),
        ("a|b", r"a\|b"),
        ("**bold** and _thin_", r"\*\*bold\*\* and \_thin\_"),
        ("[here](https://x.example)", r"\[here\](https://x.example)"),
        ("![seen](x.png)", r"\!\[seen\](x.png)"),
        ("`code`", r"\`code\`"),
        ("# heading", r"\# heading"),
        ("~~gone~~ $x$", r"\~\~gone\~\~ \$x\$"),
        (r"C:\new", r"C:\\new"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("&lt;", "&amp;lt;"),
        ("two\nlines\t and a tab", "two lines and a tab"),
        ("\x1b[31mred", r"\\x1b\[31mred"),
    ],
)
def test_text_is_escaped_so_that_it_means_itself(text: str, written: str) -> None:
    assert escape(text) == written
