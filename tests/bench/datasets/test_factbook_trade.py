"""What places do, as the Factbook lists it: shares, years and remarks are no part of a name."""

from __future__ import annotations

from typing import Any

import pytest

from bench.datasets.factbook_trade import things


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        (
            "Agricultural products",
            "sugarcane, milk, mangoes/guavas (2023)",
            ["grows sugarcane", "grows milk"],
        ),
        (
            "Exports - partners",
            "Uganda 10%, USA 8.5%, and UAE 8% (2023)",
            ["sells to uganda", "sells to usa"],
        ),
        (
            "Imports - commodities",
            "refined petroleum, palm oil.",
            ["buys refined petroleum", "buys palm oil"],
        ),
        ("Industries", "textiles; <b>note:</b> food, food", ["makes textiles", "makes food"]),
    ],
)
def test_a_list_is_taken_apart(field: str, text: str, expected: list[str]) -> None:
    entry: dict[str, Any] = {"Economy": {field: {"text": text}}}
    assert things(entry)[: len(expected)] == expected


def test_entries_without_an_economy_or_with_numbers_alone_have_none() -> None:
    assert things({}) == [] == things({"Economy": {}})
    assert things({"Economy": {"Industries": {"text": "0.4% of the total: 12 (2020)"}}}) == []
