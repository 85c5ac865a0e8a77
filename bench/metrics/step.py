"""Metrics of one step of training."""

from __future__ import annotations

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    Metric("step_latency_s", "step time", "s", "lower", "sampled", "step",
           "median time of one training step"),
    Metric("step_latency_p90_s", "step time p90", "s", "lower", "sampled", "step",
           "90th percentile of the time of a training step"),
    Metric("step_latency_p99_s", "step time p99", "s", "lower", "sampled", "step",
           "99th percentile of the time of a training step"),
    Metric("passes_per_step", "passes per step", "", "neither", "sampled", "step",
           "forward and backward passes per training step: over 1 where the optimizer evaluates the loss"),
    Metric("step_throughput", "step throughput", "samples/s", "higher", "sampled", "step",
           "training samples over the time of all timed steps"),
    Metric("step_data_s", "data time", "s", "lower", "sampled", "step",
           "time of a step in which its batch is chosen, transformed and moved to the device"),
    Metric("step_forward_s", "forward time", "s", "lower", "sampled", "step",
           "time of a step in its forward passes, with the loss"),
    Metric("step_backward_s", "backward time", "s", "lower", "sampled", "step",
           "time of a step in its backward passes, with what they compute again"),
    Metric("step_optimizer_s", "optimizer time", "s", "lower", "sampled", "step",
           "time of a step in which the optimizer clears gradients and updates the weights"),
    Metric("step_data_share", "share of data", "share", "neither", "sampled", "step",
           "data time over the sum of the four parts of a step"),
    Metric("step_forward_share", "share of forward", "share", "neither", "sampled", "step",
           "forward time over the sum of the four parts of a step"),
    Metric("step_backward_share", "share of backward", "share", "neither", "sampled", "step",
           "backward time over the sum of the four parts of a step"),
    Metric("step_optimizer_share", "share of optimizer", "share", "neither", "sampled", "step",
           "optimizer time over the sum of the four parts of a step"),
    Metric("step_parts_ratio", "parts over step", "ratio", "neither", "sampled", "step",
           "sum of the four parts, timed with marks between them, over the step time, timed without marks"),
    Metric("forward_flops", "forward FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 of a forward pass; a complex multiply-add is 8", operations=True),
    Metric("backward_flops", "backward FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 of a backward pass, without recomputation", operations=True),
    Metric("recomputed_flops", "recomputed FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 that the backward pass repeats: checkpointed modules, attention scores",
           operations=True),
    Metric("optimizer_flops", "optimizer FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 of the optimizer's matrix products", operations=True),
    Metric("optimizer_state_bytes", "optimizer state", "bytes", "lower", "exact", "step",
           "size of the tensors that the optimizer keeps, an average of weights included"),
    Metric("average_bytes", "average of weights", "bytes", "lower", "exact", "step",
           "size of the average of weights, part of the optimizer state"),
    Metric("optimizer_state_theory_bytes", "optimizer state by theory", "bytes", "lower", "exact", "step",
           "size of the tensors that the optimizer's paper keeps, from the shapes of the parameters; and of "
           "an average of weights"),
    Metric("optimizer_parameters", "parameters by optimizer group", "count", "neither", "exact", "step",
           "number of weights and biases in a group of the optimizer's, each with settings of its own"),
)
# fmt: on
