"""The table of metrics. Tables, plots, reports and the regression check all read these rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]
Kind = Literal["exact", "seeded", "sampled"]

CURVES = ("curve_step", "curve_seconds", "curve_loss", "curve_quality")
"""Metrics whose samples, taken together, are a training curve: one entry for each evaluation."""


@dataclass(frozen=True)
class Metric:
    """A quantity that stages measure.

    `kind`: exact (the same on every machine), seeded (the same wherever seed, libraries and hardware are),
    sampled (differs from launch to launch, has an interval). `stage` is the kind of stage that measures it.
    """

    name: str
    label: str
    unit: str
    better: Better
    kind: Kind
    stage: str
    about: str


# fmt: off
_ROWS = (
    # Training to the target
    Metric("target_reached", "target reached", "yes/no", "higher", "seeded", "train",
           "whether the target held for two evaluations in a row; a run that never got there is censored"),
    Metric("steps_to_target", "steps to target", "steps", "lower", "seeded", "train",
           "optimizer steps at the first of two evaluations in a row that met the target"),
    Metric("steps_to_first_crossing", "steps to first crossing", "steps", "lower", "seeded", "train",
           "optimizer steps at the first evaluation that met the target, whether it held or not"),
    Metric("steps_trained", "steps trained", "steps", "neither", "seeded", "train",
           "optimizer steps taken"),
    Metric("samples_to_target", "samples to target", "samples", "lower", "seeded", "train",
           "training samples used up to the target, repeats counted"),
    Metric("flops_to_target", "FLOPs to target", "FLOPs", "lower", "seeded", "train",
           "steps to target × FLOPs of a step"),
    Metric("time_to_target_s", "time to target", "s", "lower", "sampled", "train",
           "seconds of training clocked until the target, evaluation excluded"),
    Metric("training_s", "training time", "s", "lower", "sampled", "train",
           "seconds of training clocked in all, evaluation excluded"),
    Metric("evaluation_s", "evaluation time", "s", "neither", "sampled", "train",
           "seconds that the evaluations during training took"),
    Metric("evaluation_period", "evaluation period", "steps", "neither", "exact", "train",
           "training steps from one evaluation to the next"),
    Metric("effective_batch_size", "samples in a batch", "samples", "neither", "exact", "train",
           "training samples in a batch: those asked for, or all where there are fewer"),
    Metric("training_samples", "training samples", "samples", "neither", "exact", "train",
           "samples of the training set; what a reader of the user's files left out stands with it"),
    Metric("test_samples", "test samples", "samples", "neither", "exact", "train",
           "samples of the set that quality is measured on"),
    Metric("train_throughput", "training throughput", "samples/s", "higher", "sampled", "train",
           "training samples over training time; a sample counts once for each forward and backward pass"),
    Metric("quality", "quality", "share", "higher", "seeded", "any",
           "the workload's first quality metric, on its test set"),
    Metric("accuracy", "accuracy", "share", "higher", "seeded", "any",
           "share of test samples classed right"),
    Metric("macro_recall", "macro recall", "share", "higher", "seeded", "any",
           "recall of each class, averaged over classes"),
    Metric("recall", "recall", "share", "higher", "seeded", "any",
           "share of the cases that were found"),
    Metric("auc", "AUC", "share", "higher", "seeded", "any",
           "area under the receiver operating characteristic"),
    Metric("r2", "R²", "share", "higher", "seeded", "any",
           "share of the targets' variance that is explained"),
    Metric("mse", "mean squared error", "", "lower", "seeded", "any",
           "mean squared error, in the squared unit of the targets"),
    Metric("map50", "mAP@50", "share", "higher", "seeded", "any",
           "mean average precision at an overlap of 50 %"),
    Metric("exact_match", "exact match", "share", "higher", "seeded", "any",
           "share of answers that are the right words exactly (SQuAD)"),
    Metric("f1", "F1", "share", "higher", "seeded", "any",
           "overlap of an answer's words with the right ones, averaged over questions (SQuAD)"),
    Metric("likelihood", "likelihood", "share", "higher", "seeded", "any",
           "geometric mean of the probability given to the right token: exp(-nats)"),
    Metric("nats", "nats per token", "nats", "lower", "seeded", "any",
           "mean cross-entropy of a held-out token"),
    Metric("bleu", "BLEU", "points", "higher", "seeded", "train",
           "corpus BLEU of greedy translations, by sacreBLEU"),
    Metric("chrf", "chrF", "points", "higher", "seeded", "train",
           "character F-score of greedy translations, by sacreBLEU"),
    Metric("bleu_nearest_neighbour", "BLEU without training", "points", "higher", "seeded", "train",
           "BLEU of the translation of the training pair whose source is nearest"),
    Metric("chrf_nearest_neighbour", "chrF without training", "points", "higher", "seeded", "train",
           "chrF of the translation of the training pair whose source is nearest"),
    Metric("hit_rate_at_10", "hit rate at 10", "share", "higher", "seeded", "any",
           "share of users whose held-out item is among the first ten"),
    Metric("ndcg_at_10", "NDCG at 10", "share", "higher", "seeded", "any",
           "discounted gain of the held-out item's place among the first ten"),
    Metric("baseline_quality", "quality without training", "share", "higher", "seeded", "train",
           "the workload's first quality metric, of an answer that needs no training"),
    Metric("loss", "training loss", "nats", "lower", "seeded", "train",
           "mean training loss since the last evaluation"),
    Metric("curve_step", "step", "steps", "neither", "seeded", "train",
           "steps at each evaluation"),
    Metric("curve_seconds", "training time", "s", "neither", "sampled", "train",
           "training seconds at each evaluation"),
    Metric("curve_loss", "training loss", "nats", "lower", "seeded", "train",
           "mean training loss before each evaluation"),
    Metric("curve_quality", "quality", "share", "higher", "seeded", "train",
           "quality at each evaluation"),
    # One step of training
    Metric("step_latency_s", "step time", "s", "lower", "sampled", "step",
           "median time of one training step"),
    Metric("step_latency_p90_s", "step time p90", "s", "lower", "sampled", "step",
           "90 % of steps take no longer"),
    Metric("step_latency_p99_s", "step time p99", "s", "lower", "sampled", "step",
           "99 % of steps take no longer"),
    Metric("passes_per_step", "passes in a step", "", "neither", "sampled", "step",
           "forward and backward passes of a training step: over 1 where the optimizer evaluates the loss"),
    Metric("step_throughput", "step throughput", "samples/s", "higher", "sampled", "step",
           "training samples over the time of all timed steps"),
    Metric("forward_flops", "forward FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 of a forward pass; a complex multiply-add is 8"),
    Metric("backward_flops", "backward FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 of a backward pass, what it computes again left out"),
    Metric("recomputed_flops", "recomputed FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 that the backward pass does again: checkpointed modules, attention's scores"),
    Metric("optimizer_flops", "optimizer FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 of the optimizer's matrix products"),
    Metric("optimizer_state_bytes", "optimizer state", "bytes", "lower", "exact", "step",
           "tensors the optimizer keeps"),
    # A model and its artifact
    Metric("parameters", "parameters", "count", "lower", "exact", "any",
           "weights and biases"),
    Metric("nonzero_parameters", "non-zero parameters", "count", "lower", "seeded", "any",
           "weights and biases not 0"),
    Metric("dense_flops", "FLOPs dense", "FLOPs", "lower", "exact", "lower",
           "logical multiply-adds × 2 of one batch, zeros counted"),
    Metric("effective_flops", "FLOPs effective", "FLOPs", "lower", "seeded", "lower",
           "logical multiply-adds × 2 of one batch whose weight is not zero"),
    Metric("least_bytes_moved", "least bytes moved", "bytes", "lower", "exact", "any",
           "an estimate: weights, inputs and outputs of one call, each once; more moves where caches spill"),
    Metric("flops_complete", "FLOPs complete", "yes/no", "higher", "exact", "any",
           "every operator that computes has a formula"),
    Metric("fvcore_flops", "FLOPs by fvcore", "FLOPs", "lower", "exact", "any",
           "an independent count: fvcore's multiply-adds × 2"),
    Metric("lowering_s", "lowering time", "s", "lower", "sampled", "lower",
           "export, calibration, quantization and compilation into the runtime's own file"),
    Metric("artifact_bytes", "size on disk", "bytes", "lower", "seeded", "lower",
           "files the runtime loads"),
    Metric("artifact_compressed_bytes", "size compressed", "bytes", "lower", "seeded", "lower",
           "the same files by xz: what pruning saves in a download"),
    Metric("structure", "parts of the structure", "count", "neither", "seeded", "any",
           "modules, operators and shapes that the time depends on; what has the same ones shares a timing"),
    # Quality of an artifact on its backend
    Metric("valid", "valid", "yes/no", "higher", "seeded", "any",
           "whether outputs are within the format's tolerance; what is not is never ranked"),
    Metric("relative_error", "relative error", "ratio", "lower", "seeded", "evaluate",
           "largest difference from the eager outputs of the same model, over their largest size"),
    Metric("absolute_error", "largest error", "", "lower", "seeded", "evaluate",
           "largest difference from the eager outputs of the same model, in their unit"),
    Metric("cosine", "cosine", "ratio", "higher", "seeded", "evaluate",
           "cosine of all unmasked outputs, as one vector, to the eager outputs of the same model"),
    Metric("further_error", "error of a further output", "ratio", "lower", "seeded", "evaluate",
           "largest difference of one more output, over its largest size"),
    Metric("further_agreement", "agreement of a further output", "share", "higher", "seeded", "evaluate",
           "share of the labels of one more output that are those of the same model"),
    Metric("outputs_left_out", "outputs left out", "count", "neither", "exact", "train",
           "outputs that are not compared: no tensors, or without a row for each sample"),
    Metric("reference_bits", "bits of the reference", "count", "neither", "exact", "train",
           "bits of the numbers that the reference outputs were computed in"),
    Metric("top1_agreement", "agreement with its model", "share", "higher", "seeded", "evaluate",
           "share of test samples that get the answer of the same model, eager, fp32"),
    Metric("reference_agreement", "agreement with uncompressed", "share", "higher", "seeded", "evaluate",
           "share of test samples that get the answer of the uncompressed model, eager, fp32"),
    Metric("class_recall", "recall of one class", "share", "higher", "seeded", "evaluate",
           "share of the test samples of one class that are classed right"),
    Metric("answers_lost", "answers lost", "share", "lower", "seeded", "evaluate",
           "share of test samples that the uncompressed eager model has right and this one wrong"),
    Metric("answers_won", "answers won", "share", "higher", "seeded", "evaluate",
           "share of test samples that the uncompressed eager model has wrong and this one right"),
    # Inference
    Metric("latency_s", "latency", "s", "lower", "sampled", "infer",
           "median time of one batch, single stream"),
    Metric("latency_p90_s", "latency p90", "s", "lower", "sampled", "infer",
           "90 % of batches take no longer"),
    Metric("latency_p99_s", "latency p99", "s", "lower", "sampled", "infer",
           "99 % of batches take no longer"),
    Metric("throughput", "throughput", "samples/s", "higher", "sampled", "infer",
           "samples over the time of all timed batches"),
    Metric("copied_inputs", "input copied", "yes/no", "neither", "exact", "infer",
           "whether each timed call copies its input first, because the model writes to it"),
    Metric("load_s", "load time", "s", "lower", "sampled", "infer",
           "reading the artifact into its runtime"),
    Metric("first_call_s", "first call", "s", "lower", "sampled", "any",
           "the first batch after loading; of a training step with what is compiled for it"),
    Metric("warm_up_s", "warm-up", "s", "lower", "sampled", "any",
           "calls from the first until they no longer got faster"),
    Metric("kernels", "kernels", "count", "neither", "sampled", "infer",
           "kinds of kernels that ran, read from the runtime, with the numbers they multiply"),
    Metric("format_kernels", "kernels of the format", "count", "neither", "sampled", "infer",
           "kinds of kernels that multiply numbers of the format or precision asked for, by the runtime"),
    # A server, on request
    Metric("server_rate_per_s", "rate that holds the bound", "batches/s", "higher", "sampled", "serve",
           "the highest rate of Poisson arrivals at which 99 % are answered within the bound"),
    Metric("server_p99_s", "p99 at that rate", "s", "lower", "sampled", "serve",
           "99 % of batches took no longer from arrival to answer, waiting included"),
    Metric("server_bound_s", "bound on the p99", "s", "neither", "exact", "serve",
           "what the matrix asks of the p99"),
    # Generation by a language model
    Metric("ttft_s", "time to first token", "s", "lower", "sampled", "generate",
           "median time from prompts to the first token of each, at that many texts side by side"),
    Metric("inter_token_s", "inter-token latency", "s", "lower", "sampled", "generate",
           "median time from one token to the next, the prompt's pass left out"),
    Metric("inter_token_p99_s", "inter-token latency p99", "s", "lower", "sampled", "generate",
           "99 % of tokens come no later after the one before"),
    Metric("tokens_per_s", "tokens a second", "tokens/s", "higher", "sampled", "generate",
           "new tokens of all texts side by side over the whole time, prompts' passes included"),
    Metric("cache_bytes_per_token", "cache of a token", "bytes", "lower", "exact", "generate",
           "what the key-value cache keeps of each token of a text, prompt and continuation"),
    # What the device can do at most
    Metric("ceiling_operations_per_s", "most operations", "operations/s", "higher", "sampled", "ceilings",
           "the best rate of matrix products in one number format"),
    Metric("ceiling_bytes_per_s", "most bytes", "bytes/s", "higher", "sampled", "ceilings",
           "the rate of a copy that no cache holds, read and written"),
    Metric("achieved_operations_per_s", "operations a second", "operations/s", "higher", "sampled", "any",
           "logical operations over the median time of a call"),
    Metric("utilization", "% of peak (MFU)", "share", "higher", "sampled", "any",
           "model FLOP utilization: of the most operations a second in that number format, none repeated"),
    Metric("hardware_utilization", "% of peak with recomputation (HFU)", "share", "higher", "sampled", "any",
           "hardware FLOP utilization: the same with what a training step computes again to save memory"),
    Metric("operations_per_byte", "operations a byte (estimate)", "ratio", "neither", "exact", "any",
           "logical operations over the least bytes moved"),
    # How sure a timing is
    Metric("fastest_s", "fastest", "s", "lower", "sampled", "any",
           "the shortest sample of a launch"),
    Metric("within_variation", "variation within launches", "share", "lower", "sampled", "any",
           "robust standard deviation of a launch's samples over their median"),
    Metric("effective_samples", "effective samples", "count", "higher", "sampled", "any",
           "independent samples that would tell as much as those of a launch"),
    Metric("reference_s", "reference product", "s", "neither", "sampled", "any",
           "median time of a small product of matrices beside the timed pass: how fast the machine then was"),
    Metric("timed_cpu_over_wall", "CPU time over time", "ratio", "neither", "sampled", "any",
           "CPU seconds of all threads over the seconds of the timed pass"),
    Metric("page_faults", "page faults of a call", "count", "lower", "sampled", "any",
           "how often the kernel gives memory to a call; many cost time and steadiness"),
    # Memory and energy
    Metric("peak_tensor_bytes", "peak tensor memory", "bytes", "lower", "exact", "any",
           "most bytes of tensors alive at once"),
    Metric("peak_weights_bytes", "weights at the peak", "bytes", "lower", "exact", "step",
           "weights and buffers, of the peak tensor memory of a training step"),
    Metric("peak_gradients_bytes", "gradients at the peak", "bytes", "lower", "exact", "step",
           "gradients of weights, of that peak"),
    Metric("peak_optimizer_bytes", "optimizer state at the peak", "bytes", "lower", "exact", "step",
           "the optimizer's tensors with its counters, of that peak"),
    Metric("peak_activations_bytes", "activations at the peak", "bytes", "lower", "exact", "step",
           "all else of that peak: activations, their gradients, inputs, temporaries"),
    Metric("peak_rss_bytes", "peak resident memory", "bytes", "lower", "sampled", "any",
           "high-water mark of the process's resident set"),
    Metric("rss_growth_bytes", "resident growth", "bytes", "lower", "sampled", "any",
           "peak resident memory less what was resident before the model was loaded"),
    Metric("device_s", "time on the device", "s", "lower", "sampled", "any",
           "seconds of a call on an accelerator by its own events, among others queued there: what a latency "
           "has beyond it is waiting, and where they are the same the host sets the pace"),
    Metric("runtime_s", "latency in the runtime", "s", "lower", "sampled", "infer",
           "seconds of a call by the runtime's own clock: a latency has the call from Python beyond it"),
    Metric("gpu_allocated_peak_bytes", "GPU allocated peak", "bytes", "lower", "sampled", "any",
           "most bytes of tensors in the device's allocator"),
    Metric("gpu_reserved_peak_bytes", "GPU reserved peak", "bytes", "lower", "sampled", "any",
           "most bytes the device's allocator held"),
    Metric("gpu_process_bytes", "GPU process memory", "bytes", "lower", "sampled", "any",
           "what NVML says the process holds"),
    Metric("gpu_power_w", "GPU power", "W", "lower", "sampled", "any",
           "mean power of the board, by NVML"),
    Metric("gpu_utilization", "GPU utilization", "share", "neither", "sampled", "any",
           "share of time that a kernel ran, by NVML"),
    Metric("gpu_clocks_held", "GPU clocks held down", "share", "neither", "sampled", "any",
           "share of samples under load in which NVML gave a reason for lower clocks; it is named"),
    Metric("gpu_power_limited", "GPU at its power limit", "share", "neither", "sampled", "any",
           "share of the timed pass for which the board's power limit held its clocks down, by NVML"),
    Metric("gpu_throttled", "GPU throttled", "share", "lower", "sampled", "any",
           "share of the timed pass for which heat or the board held its clocks down, by NVML"),
    Metric("energy_j", "energy", "J", "lower", "sampled", "any",
           "energy of one call by a hardware counter, over calls that took a second or more together"),
)
# fmt: on

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ROWS}


def metric_named(name: str) -> Metric:
    """Return a metric's row; of one that this version does not know, a row that says so."""
    known = METRICS.get(name)
    return known or Metric(name, name, "", "neither", "seeded", "any", "not a metric of this version")


def bounds(name: str) -> tuple[float, float]:
    """Return the least and the largest value that a metric can have."""
    low, high = _BOUNDS.get(name) or _BOUNDS_OF_UNITS.get(metric_named(name).unit, (-math.inf, math.inf))
    return low, high


_BOUNDS_OF_UNITS = {"share": (0.0, 1.0), "points": (0.0, 100.0), "nats": (0.0, math.inf)}
_BOUNDS = {"r2": (-math.inf, 1.0), "mse": (0.0, math.inf)}

QUALITIES = (
    *("accuracy", "macro_recall", "recall", "auc", "r2", "mse", "map50", "exact_match", "f1"),
    *("likelihood", "nats", "bleu", "chrf", "bleu_nearest_neighbour", "chrf_nearest_neighbour"),
    *("hit_rate_at_10", "ndcg_at_10"),
)
"""Metrics of quality; a workload's first is a share and better when higher."""

COUNTS = (
    *("forward_flops", "backward_flops", "recomputed_flops", "optimizer_flops"),
    *("dense_flops", "effective_flops"),
)
"""Counts of operations: each is the least that it can be where its stage's `flops_complete` is no."""

PRIMARY: Mapping[str, str] = {"step": "step_latency_s", "infer": "latency_s"}
"""The metric of each kind of timed stage whose interval decides whether it needs more launches."""
