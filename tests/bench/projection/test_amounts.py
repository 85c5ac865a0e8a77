"""Large numbers are read as people write them, and written as they read them."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.projection.amounts import Range, parse_amount, write_amount


@pytest.mark.parametrize(
    ("text", "amount"), [("300e9", 3e11), ("300B", 3e11), ("1.4T", 1.4e12), ("1_000", 1000), ("12m", 1.2e7)]
)
def test_amounts_are_read_with_exponents_and_letters(text, amount):
    assert parse_amount("--tokens", text) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["", "many", "-3", "0", "1e99", "3 apples", "nan"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(BenchError, match=r"--tokens must be a number such as 300e9, 300B or 1\.4T"):
        parse_amount("--tokens", text)


def test_amounts_are_written_with_their_unit():
    assert write_amount(174_600_000_000) == "174.6 billion"
    assert write_amount(1234) == "1,234"
    assert write_amount(3.14e23) == "3.14e+23"


def test_a_range_scales_at_both_ends():
    assert Range(1, 2).times(3) == Range(3, 6)
