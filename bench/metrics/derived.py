"""Metrics that no stage measures: tables of reports derive them, and limits may name them."""

from __future__ import annotations

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    Metric("quality_loss_points", "quality loss", "percentage points", "lower", "seeded", "evaluate",
           "quality lost to the uncompressed eager model of the same training", low=-100.0, high=100.0),
    Metric("paired_loss_points", "quality loss on the same items", "percentage points", "lower", "seeded",
           "evaluate", "quality lost to the uncompressed model on the same backend, paired by test item"),
    Metric("worst_group_points", "loss of the worst group", "percentage points", "lower", "seeded",
           "evaluate", "quality lost by the group of test items that loses most, on the same backend"),
    Metric("groups_flagged", "groups that lose", "count", "lower", "seeded", "evaluate",
           "groups that lose quality by more than chance explains: false discoveries at most 5 %", low=0.0),
    Metric("bits_per_weight", "bits per weight", "bits", "lower", "exact", "lower",
           "bits of the runtime's files over the model's weights, zero ones too", low=0.0),
    Metric("effective_bits_per_weight", "effective bits per weight", "bits", "lower", "seeded", "lower",
           "bits of the compressed files over the model's weights, zero ones too", low=0.0),
    Metric("speedup", "speedup", "ratio", "higher", "sampled", "infer",
           "how many times as fast as the uncompressed model on cpu-eager, at the same batch size", low=0.0),
    Metric("decode_share", "share of the memory's speed", "share", "higher", "sampled", "generate",
           "time in which the measured bandwidth moves the bytes of a step, over the time per output token, "
           "or with a draft over the wait between steps",
           high=1e6),
    Metric("compressing_s", "time to compress", "s", "lower", "sampled", "compress",
           "work of all steps of a cell's recipe, and what its lowering takes longer than the uncompressed "
           "model's"),
    Metric("break_even_inferences", "break-even", "samples", "lower", "sampled", "infer",
           "inferences after which the time that compressing took is saved, against the uncompressed model "
           "on the same backend", low=0.0),
    Metric("break_even_energy_inferences", "break-even of energy", "samples", "lower", "sampled", "infer",
           "inferences after which the energy that compressing took is saved", low=0.0),
    Metric("break_even_money_inferences", "break-even of money", "samples", "lower", "sampled", "infer",
           "inferences after which the money that compressing took is saved", low=0.0),
    Metric("time_to_target_by_steps_s", "time to target by steps", "s", "lower", "sampled", "train",
           "steps to target × the median step time"),
)
# fmt: on
