"""Columns of what it brings that several devices train together; empty where one does."""

from __future__ import annotations

from reports.grids.cell import Column, metric, plain, with_bounds

_SHARE = "communication_share"

PARALLEL: tuple[Column, ...] = (("devices", plain("devices")), ("parallel", plain("parallel")))

DEVICES: tuple[Column, ...] = (
    ("scaling efficiency", with_bounds(metric("scaling_efficiency", _SHARE), "scaling_efficiency", _SHARE)),
    ("step time on one device", metric("single_step_s")),
    ("communication", metric(_SHARE)),
    ("peak resident memory of a rank", metric("rank_peak_rss_bytes")),
)
