"""The table of metrics. Frames, tables, plots, reports and the regression check all read these rows.

A plug-in adds a row with `METRICS.add`; a package does so through the entry-point group `bench.metrics`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import entry_points
from typing import Any, Literal, get_args

from techniques.registry import TechniqueError, nearest

Better = Literal["lower", "higher", "neither"]
Kind = Literal["exact", "seeded", "sampled"]

NAME = r"[a-z][a-z0-9_]{0,63}"
"""The form of a metric's name: it names columns of tables."""

_BOUNDS_OF_UNITS = {"share": (0.0, 1.0), "points": (0.0, 100.0), "nats": (0.0, math.inf)}
_MAX_CHARACTERS = {"label": 60, "unit": 20, "stage": 40, "about": 300}


@dataclass(frozen=True)
class Metric:
    """A quantity that stages measure.

    `kind`: exact (the same on every machine), seeded (the same wherever seed, libraries and hardware are),
    sampled (differs from launch to launch, has an interval). `stage` is the kind of stage that measures it.
    `low` and `high` are the smallest and largest value that it can have; without them the unit says: a share
    is 0 to 1, points are 0 to 100.

    `quality`: a workload's `quality` or `finish` may return it. `operations`: it counts operations, so it is
    a lower bound where the stage's `flops_complete` is no. `curve`: its samples are a training curve, one for
    each evaluation.
    """

    name: str
    label: str
    unit: str
    better: Better
    kind: Kind
    stage: str
    about: str
    low: float | None = None
    high: float | None = None
    quality: bool = False
    operations: bool = False
    curve: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest value that the metric can have."""
        low, high = _BOUNDS_OF_UNITS.get(self.unit, (-math.inf, math.inf))
        return low if self.low is None else self.low, high if self.high is None else self.high

    def check(self) -> None:
        """Raise ValueError that says what would be right where a field is wrong."""
        if not isinstance(self.name, str) or not re.fullmatch(NAME, self.name):
            raise ValueError("a name has only a-z, 0-9 and '_', a letter first, 64 characters at most")
        for field, most in _MAX_CHARACTERS.items():
            text = getattr(self, field)
            if not isinstance(text, str) or len(text) > most or (not text.isprintable() and text):
                raise ValueError(f"{field} must be one line of at most {most} characters, got {text!r:.80}")
        for field, known in (("better", get_args(Better)), ("kind", get_args(Kind))):
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be {', '.join(known)}, got {getattr(self, field)!r:.80}")
        for field in ("quality", "operations", "curve"):
            if not isinstance(getattr(self, field), bool):
                raise ValueError(f"{field} must be True or False, got {getattr(self, field)!r:.80}")
        for field in ("low", "high"):
            bound = getattr(self, field)
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
                raise ValueError(f"{field} must be a number, got {bound!r:.80}")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"low must be less than high, got {self.bounds[0]:g} and {self.bounds[1]:g}")

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON; a bound that is infinite is null."""
        low, high = (bound if math.isfinite(bound) else None for bound in self.bounds)
        return {**asdict(self), "low": low, "high": high}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Metric:
        """Return the row of such JSON; keys that are no fields are left out."""
        row = {field.name: entry[field.name] for field in fields(cls)}
        low, high = row["low"], row["high"]
        bounds = {"low": -math.inf if low is None else low, "high": math.inf if high is None else high}
        return cls(**{**row, **bounds})


class MetricTable(Mapping[str, Metric]):
    """The rows by name: those of this file, then those that plug-ins and packages add.

    Rows that only a stored run or a baseline file brings, made with a plug-in that this process has not
    loaded, come last: `learn` them. They never replace a row of this file or of a plug-in.
    """

    def __init__(self, rows: Iterable[Metric]) -> None:
        self._rows = {row.name: row for row in rows}
        self._built_in = frozenset(self._rows)
        self._learned: dict[str, Metric] = {}
        self._third_parties_loaded = False

    def add(self, name: str, *, about: str, **traits: Any) -> Metric:
        """Add a metric and return its row; `traits` are fields of `Metric`.

        The label is the name without underscores, and the metric is seeded, measured by any stage, better in
        neither direction and without a unit, unless `traits` say otherwise. Adding the same row again does
        nothing. Raises TechniqueError where the name is taken or a field is wrong.
        """
        known = [entry.name for entry in fields(Metric)]
        for trait in traits:
            if trait not in known:
                raise TechniqueError(f"metric {name!r}: unknown field {trait!r}{nearest(trait, known)}")
        defaults: dict[str, Any] = {"unit": "", "better": "neither", "kind": "seeded", "stage": "any"}
        row = Metric(**{"label": str(name).replace("_", " "), **defaults, **traits}, name=name, about=about)
        try:
            row.check()
        except ValueError as error:
            raise TechniqueError(f"metric {name!r}: {error}") from None
        if self._rows.setdefault(name, row) != row:
            raise TechniqueError(f"metric {name!r} is already registered: {self._rows[name].about}")
        return row

    def learn(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Know these rows too, given as checked JSON, in place of earlier ones that were learned."""
        self._learned |= {row.name: row for row in map(Metric.from_json, documents)}

    def added(self) -> list[Metric]:
        """Return the rows of plug-ins and packages: what a run's record keeps, to be read without them."""
        self._load_third_parties()
        return [row for name, row in self._rows.items() if name not in self._built_in]

    def is_built_in(self, name: str) -> bool:
        return name in self._built_in

    @property
    def qualities(self) -> tuple[str, ...]:
        """Names of the metrics of quality; the one that a target is set on is a share, better when higher."""
        return tuple(row.name for row in self.values() if row.quality)

    @property
    def operation_counts(self) -> tuple[str, ...]:
        """Names of the counts of operations."""
        return tuple(row.name for row in self.values() if row.operations)

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of the metrics whose samples, taken together, are a training curve."""
        return tuple(row.name for row in self.values() if row.curve)

    def __getitem__(self, name: str) -> Metric:
        if name not in self._rows:  # so that what is here is found without a look at packages
            self._load_third_parties()
        return self._rows[name] if name in self._rows else self._learned[name]

    def __iter__(self) -> Iterator[str]:
        self._load_third_parties()
        return iter({**self._rows, **self._learned})

    def __len__(self) -> int:
        self._load_third_parties()
        return len(self._rows.keys() | self._learned.keys())

    def _load_third_parties(self) -> None:
        if not self._third_parties_loaded:
            self._third_parties_loaded = True
            for entry in entry_points(group="bench.metrics"):
                entry.load()(self)


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
           "share of test samples classed right", quality=True),
    Metric("macro_recall", "macro recall", "share", "higher", "seeded", "any",
           "recall of each class, averaged over classes", quality=True),
    Metric("recall", "recall", "share", "higher", "seeded", "any",
           "share of the cases that were found", quality=True),
    Metric("auc", "AUC", "share", "higher", "seeded", "any",
           "area under the receiver operating characteristic", quality=True),
    Metric("r2", "R²", "share", "higher", "seeded", "any",
           "share of the targets' variance that is explained", quality=True, low=-math.inf),
    Metric("mse", "mean squared error", "", "lower", "seeded", "any",
           "mean squared error, in the squared unit of the targets", quality=True, low=0),
    Metric("map50", "mAP@50", "share", "higher", "seeded", "any",
           "mean average precision at an overlap of 50 %", quality=True),
    Metric("exact_match", "exact match", "share", "higher", "seeded", "any",
           "share of answers that are the right words exactly (SQuAD)", quality=True),
    Metric("f1", "F1", "share", "higher", "seeded", "any",
           "overlap of an answer's words with the right ones, averaged over questions (SQuAD)", quality=True),
    Metric("likelihood", "likelihood", "share", "higher", "seeded", "any",
           "geometric mean of the probability given to the right token: exp(-nats)", quality=True),
    Metric("nats", "nats per token", "nats", "lower", "seeded", "any",
           "mean cross-entropy of a held-out token", quality=True),
    Metric("bleu", "BLEU", "points", "higher", "seeded", "train",
           "corpus BLEU of greedy translations, by sacreBLEU", quality=True),
    Metric("chrf", "chrF", "points", "higher", "seeded", "train",
           "character F-score of greedy translations, by sacreBLEU", quality=True),
    Metric("bleu_nearest_neighbour", "BLEU without training", "points", "higher", "seeded", "train",
           "BLEU of the translation of the training pair whose source is nearest", quality=True),
    Metric("chrf_nearest_neighbour", "chrF without training", "points", "higher", "seeded", "train",
           "chrF of the translation of the training pair whose source is nearest", quality=True),
    Metric("hit_rate_at_10", "hit rate at 10", "share", "higher", "seeded", "any",
           "share of users whose held-out item is among the first ten", quality=True),
    Metric("ndcg_at_10", "NDCG at 10", "share", "higher", "seeded", "any",
           "discounted gain of the held-out item's place among the first ten", quality=True),
    Metric("baseline_quality", "quality without training", "share", "higher", "seeded", "train",
           "the workload's first quality metric, of an answer that needs no training"),
    Metric("loss", "training loss", "nats", "lower", "seeded", "train",
           "mean training loss since the last evaluation"),
    Metric("curve_step", "step", "steps", "neither", "seeded", "train",
           "steps at each evaluation", curve=True),
    Metric("curve_seconds", "training time", "s", "neither", "sampled", "train",
           "training seconds at each evaluation", curve=True),
    Metric("curve_loss", "training loss", "nats", "lower", "seeded", "train",
           "mean training loss before each evaluation", curve=True),
    Metric("curve_quality", "quality", "share", "higher", "seeded", "train",
           "quality at each evaluation", curve=True),
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
           "multiply-adds × 2 of a forward pass; a complex multiply-add is 8", operations=True),
    Metric("backward_flops", "backward FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 of a backward pass, what it computes again left out", operations=True),
    Metric("recomputed_flops", "recomputed FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 that the backward pass does again: checkpointed modules, attention's scores",
           operations=True),
    Metric("optimizer_flops", "optimizer FLOPs", "FLOPs", "lower", "exact", "step",
           "multiply-adds × 2 of the optimizer's matrix products", operations=True),
    Metric("optimizer_state_bytes", "optimizer state", "bytes", "lower", "exact", "step",
           "tensors the optimizer keeps"),
    # A model and its artifact
    Metric("parameters", "parameters", "count", "lower", "exact", "any",
           "weights and biases"),
    Metric("nonzero_parameters", "non-zero parameters", "count", "lower", "seeded", "any",
           "weights and biases not 0"),
    Metric("dense_flops", "FLOPs dense", "FLOPs", "lower", "exact", "lower",
           "logical multiply-adds × 2 of one batch, zeros counted", operations=True),
    Metric("effective_flops", "FLOPs effective", "FLOPs", "lower", "seeded", "lower",
           "logical multiply-adds × 2 of one batch whose weight is not zero", operations=True),
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

METRICS = MetricTable(_ROWS)


def metric_named(name: str) -> Metric:
    """Return a metric's row; of one that nothing here knows, a row that says so."""
    known = METRICS.get(name)
    return known or Metric(name, name, "", "neither", "seeded", "any", "not a metric of this version")
