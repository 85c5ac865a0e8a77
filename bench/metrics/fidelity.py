"""Metrics of what compression does to outputs, and to whom: by test item, by group, under corruption."""

from __future__ import annotations

import math

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    # Values of test items, from which reports compare two models on the same items
    Metric("item_right", "share right, by test item", "share", "higher", "seeded", "evaluate",
           "share of the answers of each test item that are right, in the samples; the value is their mean"),
    Metric("item_nats", "nats, by test item", "nats", "lower", "seeded", "evaluate",
           "mean cross-entropy of each test item, in the samples; kept where quality follows from it"),
    Metric("item_squared_error", "squared error, by test item", "", "lower", "seeded", "evaluate",
           "squared error of each test item, in the samples; the value is their mean", low=0.0),
    Metric("item_group", "groups of a column", "count", "neither", "seeded", "evaluate",
           "number of the group of each test item in a column of the data, in the samples"),
    Metric("resampled_quality", "quality on resamples", "share", "higher", "seeded", "evaluate",
           "quality on seeded resamples of the test items, in the samples: the same items for every model",
           low=-math.inf),
    # Outputs against those of the uncompressed model
    Metric("kl_divergence", "KL divergence", "nats", "lower", "seeded", "evaluate",
           "mean divergence of an answer's probabilities from those of the uncompressed eager model"),
    Metric("top5_agreement", "top-5 agreement", "share", "higher", "seeded", "evaluate",
           "share of the five likeliest classes that the uncompressed eager model has among its five"),
    # Calibration
    Metric("ece", "calibration error (ECE)", "share", "lower", "seeded", "evaluate",
           "mean distance of confidence from the share right, 15 bins of equal mass (Guo et al. 2017)"),
    Metric("brier", "Brier score", "", "lower", "seeded", "evaluate",
           "mean squared distance of the probabilities from the right class (Brier 1950)", low=0.0, high=2.0),
    Metric("nll", "negative log-likelihood", "nats", "lower", "seeded", "evaluate",
           "mean negative logarithm of the probability of the right class"),
    # On request
    Metric("corrupted_quality", "quality under corruption", "share", "higher", "seeded", "robustness",
           "quality on the same test items, corrupted in one way; 'clean' without corruption", low=-math.inf),
    Metric("item_corrupted", "corrupted items, by test item", "", "neither", "seeded", "robustness",
           "what each test item got, corrupted in one way, in the samples: the metric that the method names",
           low=-math.inf),
    Metric("attribution_items", "items with attributions", "count", "neither", "seeded", "attribution",
           "test items whose attributions are compared"),
    Metric("attribution_agreement", "rank agreement of attributions", "ratio", "higher", "seeded",
           "attribution", "mean Spearman correlation of a test item's integrated gradients (Sundararajan et "
           "al. 2017) with the uncompressed model's", low=-1.0, high=1.0),
)
# fmt: on

OF_ITEMS = (
    *("item_right", "item_nats", "item_squared_error", "item_group", "resampled_quality"),
    "item_corrupted",
)
"""Metrics whose samples are of test items, or of resamples of them, in one order for every model."""
