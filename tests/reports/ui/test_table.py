"""Tables of `bench ui`: filtered, sorted and cut to pages before a browser sees them."""

from __future__ import annotations

from urllib.parse import parse_qs

import pandas as pd
import pytest

from bench.errors import BenchError
from reports.ui.table import MAX_CHOICES, PAGE_ROWS, Query, choices, parse_query, select

COLUMNS = ("name", "backend", "latency_s")


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        ("Dense on eager", "cpu-eager", 3.0),
        ("pruned on eager", "cpu-eager", float("nan")),
        ("dense on onnx", "onnxruntime", 1.0),
        ("pruned on onnx", "onnxruntime", 2.0),
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def names(frame: pd.DataFrame, **parameters: str) -> list[str]:
    return list(select(frame, parse_query(parameters, COLUMNS), "name").rows["name"])


def test_every_word_must_be_found_in_whatever_case(frame: pd.DataFrame) -> None:
    assert names(frame, q="DENSE") == ["Dense on eager", "dense on onnx"]
    assert names(frame, q="onnx pruned") == ["pruned on onnx"]
    assert names(frame, q=".*") == []  # no pattern


def test_a_column_is_chosen_by_its_value(frame: pd.DataFrame) -> None:
    assert names(frame, backend="onnxruntime") == ["dense on onnx", "pruned on onnx"]
    assert names(frame, backend="onnx") == []


@pytest.mark.parametrize(("down", "first"), [("", "dense on onnx"), ("1", "Dense on eager")])
def test_what_is_unknown_sorts_last_both_ways(frame: pd.DataFrame, down: str, first: str) -> None:
    found = names(frame, sort="latency_s", down=down)
    assert (found[0], found[-1]) == (first, "pruned on eager")


def test_pages_have_so_many_rows_and_the_last_one_the_rest() -> None:
    rows = PAGE_ROWS * 2 + 1
    frame = pd.DataFrame({"name": [f"{number:04}" for number in range(rows)]})
    last = select(frame, Query(page=3), "name")
    assert (last.total, last.pages, list(last.rows["name"])) == (rows, 3, [f"{rows - 1:04}"])
    assert list(select(frame, Query(page=99), "name").rows["name"]) == list(last.rows["name"])
    assert len(select(frame, Query(), "name").rows) == PAGE_ROWS
    assert select(frame.iloc[:0], Query(), "name").pages == 1


def test_columns_with_many_values_or_one_have_no_list(frame: pd.DataFrame) -> None:
    many = pd.DataFrame({"name": [str(number) for number in range(MAX_CHOICES + 1)], "one": "x"})
    assert choices(many, ("name", "one")) == {}
    assert choices(frame, ("backend",)) == {"backend": ["cpu-eager", "onnxruntime"]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"acuracy": "x"}, "no column 'acuracy'.*backend"),
        ({"sort": "speed"}, "no column 'speed'"),
        ({"page": "0"}, "page='0' must be a number from 1 on"),
        ({"page": "two"}, "page='two' must"),
    ],
)
def test_a_url_that_asks_for_what_there_is_not_gets_one_line(
    parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        parse_query(parameters, COLUMNS)


def test_a_link_keeps_what_was_asked_for() -> None:
    query = parse_query({"q": "a&b", "backend": "x y", "sort": "name", "down": "1", "page": "2"}, COLUMNS)
    asked = {name: values[0] for name, values in parse_qs(query.link(page=3)[1:]).items()}
    assert asked == {"q": "a&b", "backend": "x y", "sort": "name", "down": "1", "page": "3"}
    assert parse_query(asked, COLUMNS).link(page="2") == query.link()
