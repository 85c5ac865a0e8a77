"""Wall time outside stage bodies is what is left of the whole, each part counted once."""

from __future__ import annotations

import pytest

from bench.costs.timeline import HANDOVER, Timeline


def test_parts_and_handover_add_up_to_the_time_outside_all_bodies():
    timeline = Timeline(100.0)
    timeline.add_part("start", 100.0, 103.0)
    timeline.body(104.0, 4.0)
    timeline.body(106.0, 4.0)  # beside the first
    timeline.add_part("store", 110.0, 111.0)
    outside = timeline.outside(end_s=112.0)
    assert outside == pytest.approx({"start": 3.0, "store": 1.0, HANDOVER: 2.0})
    assert sum(outside.values()) == pytest.approx(12.0 - 6.0)


def test_a_part_beside_a_body_counts_only_where_no_body_runs():
    timeline = Timeline(0.0)
    timeline.body(0.0, 10.0)
    timeline.add_part("store", 9.0, 12.0)
    assert timeline.outside(end_s=12.0) == pytest.approx({"store": 2.0, HANDOVER: 0.0})
