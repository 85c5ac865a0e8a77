"""Values are written in their unit; names that act on a terminal or hide in it are shown as what they are."""

from __future__ import annotations

import io
import sys

import pytest

from bench.__main__ import main
from bench.formatting import (
    MAX_CHARACTERS,
    clock_text,
    counted,
    format_interval,
    format_points,
    format_value,
    one_line,
    print_table,
    say,
    visible,
)


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
    assert len(text) <= MAX_CHARACTERS and "\n" not in text
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
    assert len(told) <= MAX_CHARACTERS + 1 and told.count("\n") == 1
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


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("latency_s", 0.0000523, "52.3 µs"),
        ("latency_s", 1234.5, "1,234 s"),
        ("latency_s", 0.0, "0 ns"),
        ("latency_s", None, "–"),
        ("latency_s", float("nan"), "–"),
        ("artifact_bytes", 1536, "1.50 KiB"),
        ("artifact_bytes", 8, "8 B"),
        ("artifact_bytes", 1023 * 1024, "1,023 KiB"),
        ("dense_flops", 2.5e9, "2.50 GFLOP"),
        ("accuracy", 0.91234, "91.23 %"),
        ("valid", 0.0, "no"),
        ("valid", 1.0, "yes"),
        ("steps_to_target", 12345.0, "12,345"),
        ("relative_error", 0.000123456, "0.000123"),
        ("latency_s", 0.00034, "340 µs"),
        ("latency_s", 0.99961, "1,000 ms"),
        ("throughput", 4567.8, "4,568 samples/s"),
    ],
)
def test_a_value_is_written_in_the_unit_that_fits_it(metric, value, text):
    assert format_value(metric, value) == text


def test_bounds_are_in_the_unit_of_their_value():
    assert format_interval("latency_s", 52.3e-6, 41.1e-6, 1.2e-3) == "52.3 µs (41.1 to 1,200)"
    assert format_interval("latency_s", 52.3e-6, None, None) == "52.3 µs"
    assert format_interval("accuracy", 0.94, 0.935, 0.945) == "94.00 % (93.50 to 94.50)"
    assert format_interval("latency_s", None, 1.0, 2.0) == "–"


@pytest.mark.parametrize(
    ("points", "text"), [(1.234, "+1.23"), (-0.5, "-0.50"), (0.001, "0.00"), (-0.001, "0.00"), (None, "–")]
)
def test_points_have_their_sign_and_what_rounds_to_nothing_has_none(points, text):
    assert format_points(points) == text


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "cell", "0 cells"),
        (1, "cell", "1 cell"),
        (1, "launch", "1 launch"),
        (2, "launch", "2 launches"),
        (12345, "stage", "12,345 stages"),
    ],
)
def test_what_is_counted_is_singular_or_plural(count, noun, text):
    assert counted(count, noun) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_a_clock_shows_minutes_and_seconds_and_hours_from_one_on(seconds, text):
    assert clock_text(seconds) == text


def test_a_table_in_a_pipe_has_each_row_in_one_line_and_nothing_that_acts(capsys):
    print_table("\x1b[2Jtitle", [("a" * 300, "\x1b[31mred"), ("[bold]b", "c")], ["first", "second"])
    lines = capsys.readouterr().out.splitlines()
    assert "\\x1b[2Jtitle" in lines[0]
    assert any("a" * 300 in line and "\\x1b[31mred" in line for line in lines)
    assert any("[bold]b" in line and "c" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_a_table_in_a_pipe_has_a_line_for_each_row_however_long_and_nothing_acts_in_it(capsys) -> None:
    print_table("a title that is longer than the table", [("short", "long " * 100), ("x\x1b[31m", "y")])
    title, first, second, *_ = capsys.readouterr().out.splitlines()
    assert title == "a title that is longer than the table"
    assert first == "short      " + ("long " * 100).rstrip() and second == r"x\x1b[31m  y"
