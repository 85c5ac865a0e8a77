"""Metrics that no stage measures: tables of reports derive them, and limits may name them."""

from __future__ import annotations

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    Metric("quality_loss_points", "quality loss", "percentage points", "lower", "seeded", "evaluate",
           "quality lost to the uncompressed eager model of the same training", low=-100.0, high=100.0),
    Metric("speedup", "speedup", "ratio", "higher", "sampled", "infer",
           "how many times as fast as the uncompressed model on cpu-eager, at the same batch size", low=0.0),
    Metric("time_to_target_by_steps_s", "time to target by steps", "s", "lower", "sampled", "train",
           "steps to target × the median step time"),
)
# fmt: on
