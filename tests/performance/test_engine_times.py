"""What the table of an engine's own times says of two clocks that are apart by a known share."""

from __future__ import annotations

import pytest

from bench.instruments.generation import Generated
from techniques.backends.text_engine import OwnTimes
from tests.performance.engine_times import differences, rows


def test_differences_are_of_each_batch_and_not_of_the_medians():
    assert differences([1.0, 2.0, 4.0], [0.99, 1.96, 2.0]) == pytest.approx((0.02, 0.01, 0.5))


def test_a_row_says_by_how_much_two_clocks_differ_or_that_there_is_one_only():
    timed = Generated(2, (0.010,) * 3, (0.002,) * 3, (0.002,), 1.0, 12, own=(OwnTimes(0.009, 0.00199),) * 3)
    first, after = rows("engine", 2, timed)
    assert first[3:5] == ("10.0 ms", "9.00 ms") and first[-1] == "over 2 %"
    assert after[5].startswith("+0.50 %") and after[-1] == "within 2 %"
    alone = Generated(2, (0.010,), (0.002,), (0.002,), 1.0, 4)
    assert [row[4] for row in rows("engine", 2, alone)] == ["no clock of its own"] * 2
