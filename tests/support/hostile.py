"""Names that act, hide, or look like something else wherever they are not taken for mere text."""

from __future__ import annotations

HTML = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
ANSI, BIDI = "\x1b[31mred\x1b[2J", "\u202egpj.exe"
LONG = "n" * 300
FORMULAS = ("=cmd()", "+1", "-2+3", "@SUM(1)", "=HYPERLINK(1)")
QUOTES = "\"'`&amp;\\"
MARKUP = "**a**|[b](http://c)|$x$#{d}~_%^"
NOTHING = ("None", "NaN", "null", "true", "1e5")
"""Names that a reader of numbers may take for one, or for none."""

NAMES = (HTML, QUOTES, "日本\U0001f600", ANSI, BIDI, LONG, MARKUP, *FORMULAS, *NOTHING)
