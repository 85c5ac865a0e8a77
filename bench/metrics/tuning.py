"""Metrics of tuning by trials: what was tried, what it found, what it cost."""

from __future__ import annotations

import math

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    Metric("tuned_setting", "tuned setting", "", "neither", "seeded", "train",
           "a setting of the optimizer that the best trial had"),
    Metric("tuned_trial", "best trial", "", "neither", "seeded", "train",
           "the number of the trial whose settings the training has"),
    Metric("tuning_trials", "trials", "count", "lower", "seeded", "train",
           "trials of settings that the training goes by, those beyond the edge included"),
    Metric("tuning_trials_reached", "trials that reached the target", "count", "higher", "seeded", "train",
           "trials that reached the target"),
    Metric("rate_at_edge", "rate at the edge", "yes/no", "neither", "seeded", "train",
           "whether no trial had a lower rate than the best one, or none a higher rate"),
    Metric("trial_made", "trial made", "yes/no", "neither", "seeded", "trial",
           "whether the trial was made: one beyond the edge is not where the best rate lies between others"),
    Metric("trial_setting", "setting tried", "", "neither", "seeded", "trial",
           "a setting of the optimizer that a trial tries"),
    Metric("trial_quality", "best quality of a trial", "share", "higher", "seeded", "trial",
           "the best quality of any evaluation of a trial", low=-math.inf),
    Metric("trial_pruned", "trial pruned", "yes/no", "neither", "seeded", "trial",
           "whether a trial ended at half of its budget because it had come too short a way to the target"),
    Metric("trial_lost", "trial lost", "yes/no", "lower", "seeded", "trial",
           "whether a trial diverged or failed"),
)
