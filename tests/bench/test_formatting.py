"""Names that act on a terminal, hide in it or compute in a spreadsheet are shown as what they are."""

from __future__ import annotations

import io
import sys

import pytest

from bench.__main__ import main
from bench.formatting import MOST_CHARACTERS, one_line, say, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\x9b1m\x7f\x00", r"a\x9b1m\x7f\x00"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("a\u2066b\u2069\u200f", r"a\u2066b\u2069\u200f"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("r\udce9sultats", r"r\udce9sultats"),
        ("rewritten\rline", r"rewritten\x0dline".replace(r"\x0d", r"\r")),
        ("naïve 日本語 👩\u200d🔬 می\u200cخواهم", "naïve 日本語 👩\u200d🔬 می\u200cخواهم"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
    ],
)
def test_what_acts_or_hides_is_escaped_and_all_else_stays(text, shown):
    assert visible(text) == shown


def test_a_message_is_one_line_that_keeps_its_beginning_and_its_end():
    text = one_line("start\n" + "x" * 10_000 + "; do this")
    assert len(text) <= MOST_CHARACTERS and "\n" not in text
    assert text.startswith("start x") and text.endswith("; do this") and " … " in text
    assert one_line("short") == "short"


def test_text_is_printed_visibly(capsys):
    say("\x1b[2J")
    assert capsys.readouterr().out == "\\x1b[2J\n"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--matrix", "\x1b]0;owned\x07" + "m" * 5000),
        ("run", "--matrix", "\u202elmot.x.toml", "--dry-run"),
        ("list", "\x1b[31m" + "t" * 5000),
        ("report", "\x9b31m", "--results", "/nowhere\x1b[31m"),
        ("\x1b[31m" + "c" * 5000,),
    ],
)
def test_every_message_of_the_command_line_is_short_and_visible(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    told = capsys.readouterr().err
    assert stop.value.code == 2
    assert len(told) <= MOST_CHARACTERS + 1 and told.count("\n") == 1
    assert visible(told) == told


def test_a_name_that_the_terminals_encoding_lacks_does_not_end_the_command(monkeypatch, tmp_path):
    folder = tmp_path / "日本語"
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "argv", ["bench", "report", "--results", str(folder)])
    with pytest.raises(SystemExit) as stop:
        main()
    stream.flush()
    assert stop.value.code == 2 and rb"\u65e5" in stream.buffer.getvalue()  # type: ignore[attr-defined]
