"""The table of metrics, which frames, tables, plots, reports and the regression check all read.

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

    `kind`: exact (the same on every machine), seeded (the same for the same seed, libraries and hardware),
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
           "whether two evaluations in a row met the target; a training without them is censored"),
    Metric("steps_to_target", "steps to target", "steps", "lower", "seeded", "train",
           "optimizer steps at the first of two evaluations in a row that met the target"),
    Metric("steps_to_first_crossing", "steps to first crossing", "steps", "lower", "seeded", "train",
           "optimizer steps at the first evaluation that met the target, even if the next one did not"),
    Metric("steps_trained", "steps trained", "steps", "neither", "seeded", "train",
           "optimizer steps taken"),
    Metric("samples_to_target", "samples to target", "samples", "lower", "seeded", "train",
           "training samples used up to the target, repeats included"),
    Metric("flops_to_target", "FLOPs to target", "FLOPs", "lower", "seeded", "train",
           "steps to target × FLOPs of a step"),
    Metric("time_to_target_s", "time to target", "s", "lower", "sampled", "train",
           "measured seconds of training until the target, without evaluation"),
    Metric("training_s", "training time", "s", "lower", "sampled", "train",
           "measured seconds of all training, without evaluation"),
    Metric("evaluation_s", "evaluation time", "s", "neither", "sampled", "train",
           "seconds spent in evaluations during training"),
    Metric("evaluation_period", "evaluation period", "steps", "neither", "exact", "train",
           "training steps from one evaluation to the next"),
    Metric("effective_batch_size", "batch size used", "samples", "neither", "exact", "train",
           "training samples in a batch: as requested, or all samples where there are fewer"),
    Metric("training_samples", "training samples", "samples", "neither", "exact", "train",
           "samples of the training set; samples left out of the user's files are listed with it"),
    Metric("test_samples", "test samples", "samples", "neither", "exact", "train",
           "samples of the test set, which quality is measured on"),
    Metric("train_throughput", "training throughput", "samples/s", "higher", "sampled", "train",
           "training samples over training time; a sample counts once for each forward and backward pass"),
    Metric("quality", "quality", "share", "higher", "seeded", "any",
           "the workload's first quality metric, on its test set"),
    Metric("accuracy", "accuracy", "share", "higher", "seeded", "any",
           "share of test samples classified correctly", quality=True),
    Metric("macro_recall", "macro recall", "share", "higher", "seeded", "any",
           "recall of each class, averaged over classes", quality=True),
    Metric("recall", "recall", "share", "higher", "seeded", "any",
           "share of positive samples that were found", quality=True),
    Metric("auc", "AUC", "share", "higher", "seeded", "any",
           "area under the receiver operating characteristic", quality=True),
    Metric("r2", "R²", "share", "higher", "seeded", "any",
           "share of the variance of the targets that is explained", quality=True, low=-math.inf),
    Metric("mse", "mean squared error", "", "lower", "seeded", "any",
           "mean squared error, in the squared unit of the targets", quality=True, low=0),
    Metric("map50", "mAP@50", "share", "higher", "seeded", "any",
           "mean average precision at an IoU of 0.5", quality=True),
    Metric("exact_match", "exact match", "share", "higher", "seeded", "any",
           "share of answers that match a correct answer exactly (SQuAD)", quality=True),
    Metric("f1", "F1", "share", "higher", "seeded", "any",
           "word overlap of an answer with the correct one, averaged over questions (SQuAD)", quality=True),
    Metric("likelihood", "likelihood", "share", "higher", "seeded", "any",
           "geometric mean of the probability of the correct token: exp(-nats)", quality=True),
    Metric("nats", "nats per token", "nats", "lower", "seeded", "any",
           "mean cross-entropy per held-out token", quality=True),
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
           "discounted gain of the held-out item's rank among the first ten", quality=True),
    Metric("baseline_quality", "no-training baseline", "share", "higher", "seeded", "train",
           "the workload's first quality metric for an answer that needs no training"),
    Metric("loss", "training loss", "nats", "lower", "seeded", "train",
           "mean training loss since the last evaluation"),
    # Tuning by trials
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
    Metric("curve_step", "step", "steps", "neither", "seeded", "train",
           "steps at each evaluation", curve=True),
    Metric("curve_seconds", "training time", "s", "neither", "sampled", "train",
           "training seconds at each evaluation", curve=True),
    Metric("curve_loss", "training loss", "nats", "lower", "seeded", "train",
           "mean training loss before each evaluation", curve=True),
    Metric("curve_quality", "quality", "share", "higher", "seeded", "train",
           "quality at each evaluation", curve=True),
    Metric("curve_rate", "learning rate", "ratio", "neither", "exact", "train",
           "learning rate before each evaluation, over the optimizer's own", curve=True),
    # What goes with the optimizer
    Metric("clip_binding_share", "steps with clipped gradients", "share", "neither", "seeded", "train",
           "share of the steps whose gradients were clipped: in most steps, the limit sets their length"),
    Metric("gradient_norm_median", "median gradient norm", "", "neither", "seeded", "train",
           "median norm of all gradients before they are clipped"),
    Metric("gradient_norm_max", "largest gradient norm", "", "neither", "seeded", "train",
           "largest norm of all gradients before they are clipped"),
    # One step of training
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
    # A model and its artifact
    Metric("parameters", "parameters", "count", "lower", "exact", "any",
           "number of weights and biases"),
    Metric("nonzero_parameters", "non-zero parameters", "count", "lower", "seeded", "any",
           "number of weights and biases that are not zero"),
    Metric("dense_flops", "FLOPs dense", "FLOPs", "lower", "exact", "lower",
           "logical multiply-adds × 2 of one batch, including zero weights", operations=True),
    Metric("effective_flops", "FLOPs effective", "FLOPs", "lower", "seeded", "lower",
           "logical multiply-adds × 2 of one batch, without zero weights", operations=True),
    Metric("least_bytes_moved", "least bytes moved", "bytes", "lower", "exact", "any",
           "an estimate: weights, inputs and outputs of one call, each once; caches that spill move more"),
    Metric("flops_complete", "FLOPs complete", "yes/no", "higher", "exact", "any",
           "whether every operator that computes has a formula"),
    Metric("fvcore_flops", "FLOPs by fvcore", "FLOPs", "lower", "exact", "any",
           "an independent count: fvcore's multiply-adds × 2"),
    Metric("lowering_s", "lowering time", "s", "lower", "sampled", "lower",
           "time of export, calibration, quantization and compilation into the runtime's own file"),
    Metric("artifact_bytes", "size on disk", "bytes", "lower", "seeded", "lower",
           "size of the files that the runtime loads"),
    Metric("artifact_compressed_bytes", "size compressed", "bytes", "lower", "seeded", "lower",
           "size of the same files compressed by zstd (level 3): what a download takes"),
    Metric("structure", "structure parts", "count", "neither", "seeded", "any",
           "modules, operators and shapes that time depends on; models with the same ones share a timing"),
    # Quality of an artifact on its backend
    Metric("valid", "valid", "yes/no", "higher", "seeded", "any",
           "whether outputs are within the format's tolerance; INVALID ones are never ranked"),
    Metric("relative_error", "relative error", "ratio", "lower", "seeded", "evaluate",
           "largest difference from the eager outputs of the same model, over their largest magnitude"),
    Metric("absolute_error", "largest error", "", "lower", "seeded", "evaluate",
           "largest difference from the eager outputs of the same model"),
    Metric("cosine", "cosine", "ratio", "higher", "seeded", "evaluate",
           "cosine similarity of all unmasked outputs, as one vector, to the model's eager outputs"),
    Metric("further_error", "error of a further output", "ratio", "lower", "seeded", "evaluate",
           "largest difference of a further output, relative to its largest magnitude"),
    Metric("further_agreement", "agreement of a further output", "share", "higher", "seeded", "evaluate",
           "share of the labels of a further output that equal those of the same model in eager fp32"),
    Metric("outputs_left_out", "outputs left out", "count", "neither", "exact", "train",
           "outputs that are not compared: not tensors, or without a row for each sample"),
    Metric("reference_bits", "bits of the reference", "count", "neither", "exact", "train",
           "bits of the floating-point type of the reference outputs"),
    Metric("top1_agreement", "agreement with its model", "share", "higher", "seeded", "evaluate",
           "share of test samples with the same answer as the same model in eager fp32"),
    Metric("reference_agreement", "agreement with uncompressed", "share", "higher", "seeded", "evaluate",
           "share of test samples with the same answer as the uncompressed model in eager fp32"),
    Metric("class_recall", "recall of one class", "share", "higher", "seeded", "evaluate",
           "share of the test samples of one class that are classified correctly"),
    Metric("answers_lost", "answers lost", "share", "lower", "seeded", "evaluate",
           "share of test samples that the uncompressed eager model gets right and this one wrong"),
    Metric("answers_won", "answers won", "share", "higher", "seeded", "evaluate",
           "share of test samples that the uncompressed eager model gets wrong and this one right"),
    # Inference
    Metric("latency_s", "latency", "s", "lower", "sampled", "infer",
           "median time of one batch, single stream"),
    Metric("latency_p90_s", "latency p90", "s", "lower", "sampled", "infer",
           "90th percentile of the time of one batch"),
    Metric("latency_p99_s", "latency p99", "s", "lower", "sampled", "infer",
           "99th percentile of the time of one batch"),
    Metric("throughput", "throughput", "samples/s", "higher", "sampled", "infer",
           "samples over the time of all timed batches"),
    Metric("copied_inputs", "input copied", "yes/no", "neither", "exact", "infer",
           "whether each timed call copies its input first, because the model writes to it"),
    Metric("load_s", "load time", "s", "lower", "sampled", "infer",
           "time to load the artifact into its runtime"),
    Metric("first_call_s", "first call", "s", "lower", "sampled", "any",
           "time of the first batch after loading; for a training step, compilation included"),
    Metric("warm_up_s", "warm-up", "s", "lower", "sampled", "any",
           "time from the first call until calls no longer got faster"),
    Metric("kernels", "kernels", "count", "neither", "sampled", "infer",
           "kinds of kernels that ran, as the runtime reports them, with their number formats"),
    Metric("format_kernels", "kernels in that format", "count", "neither", "sampled", "infer",
           "kinds of kernels that ran in the requested format or precision, as the runtime reports them"),
    # A server, on request
    Metric("server_rate_per_s", "rate within the bound", "batches/s", "higher", "sampled", "serve",
           "the highest rate of Poisson arrivals of which 99 % are answered within the bound"),
    Metric("server_p99_s", "p99 at that rate", "s", "lower", "sampled", "serve",
           "99th percentile of the time from arrival to answer, waiting included"),
    Metric("server_bound_s", "bound on the p99", "s", "neither", "exact", "serve",
           "the bound on the p99 that the matrix sets"),
    # Generation by a language model
    Metric("ttft_s", "time to first token", "s", "lower", "sampled", "generate",
           "median time from the prompts to the first token of each, at that many concurrent texts"),
    Metric("inter_token_s", "inter-token latency", "s", "lower", "sampled", "generate",
           "median time from one token to the next, without the prompt's pass"),
    Metric("inter_token_p99_s", "inter-token latency p99", "s", "lower", "sampled", "generate",
           "99th percentile of the time from one token to the next"),
    Metric("tokens_per_s", "tokens per second", "tokens/s", "higher", "sampled", "generate",
           "new tokens of all concurrent texts over the whole time, prompt passes included"),
    Metric("cache_bytes_per_token", "cache per token", "bytes", "lower", "exact", "generate",
           "size of the key-value cache for each token of a text, prompt and continuation"),
    # What the device can do at most
    Metric("ceiling_operations_per_s", "peak operation rate", "operations/s", "higher", "sampled", "ceilings",
           "the best rate of matrix products in one number format"),
    Metric("ceiling_bytes_per_s", "peak memory bandwidth", "bytes/s", "higher", "sampled", "ceilings",
           "rate of a copy larger than every cache, bytes read plus bytes written"),
    Metric("achieved_operations_per_s", "operations per second", "operations/s", "higher", "sampled", "any",
           "logical operations of a call over its median time"),
    Metric("utilization", "% of peak (MFU)", "share", "higher", "sampled", "any",
           "model FLOP utilization: share of the peak operation rate in that format, without recomputation"),
    Metric("hardware_utilization", "% of peak with recomputation (HFU)", "share", "higher", "sampled", "any",
           "hardware FLOP utilization: the same, including what a training step recomputes to save memory"),
    Metric("operations_per_byte", "operations per byte (estimate)", "ratio", "neither", "exact", "any",
           "logical operations over the least bytes moved"),
    # How sure a timing is
    Metric("fastest_s", "fastest", "s", "lower", "sampled", "any",
           "the shortest sample of a launch"),
    Metric("within_variation", "variation within launches", "share", "lower", "sampled", "any",
           "robust standard deviation of a launch's samples over their median"),
    Metric("effective_samples", "effective samples", "count", "higher", "sampled", "any",
           "number of independent samples with as much information as those of a launch"),
    Metric("reference_s", "reference product", "s", "neither", "sampled", "any",
           "median time of a small matrix product next to the timed pass: how fast the machine was then"),
    Metric("timed_cpu_over_wall", "CPU time over wall time", "ratio", "neither", "sampled", "any",
           "CPU seconds of all threads over the seconds of the timed pass"),
    Metric("page_faults", "page faults per call", "count", "lower", "sampled", "any",
           "page faults of one call; many make it slower and less steady"),
    # Memory and energy
    Metric("peak_tensor_bytes", "peak tensor memory", "bytes", "lower", "exact", "any",
           "most bytes of tensors alive at once"),
    Metric("peak_weights_bytes", "weights at the peak", "bytes", "lower", "exact", "step",
           "weights and buffers, part of the peak tensor memory of a training step"),
    Metric("peak_gradients_bytes", "gradients at the peak", "bytes", "lower", "exact", "step",
           "gradients of weights, part of that peak"),
    Metric("peak_optimizer_bytes", "optimizer state at the peak", "bytes", "lower", "exact", "step",
           "the optimizer's tensors and counters and an average of weights, part of that peak"),
    Metric("peak_activations_bytes", "activations at the peak", "bytes", "lower", "exact", "step",
           "the rest of that peak: activations, their gradients, inputs, temporaries"),
    Metric("peak_rss_bytes", "peak resident memory", "bytes", "lower", "sampled", "any",
           "high-water mark of the process's resident set"),
    Metric("rss_growth_bytes", "resident growth", "bytes", "lower", "sampled", "any",
           "peak resident memory minus resident memory before the model was loaded"),
    Metric("device_s", "time on the device", "s", "lower", "sampled", "any",
           "seconds of a call on an accelerator by its own events, with other calls queued; the rest of the "
           "latency is waiting, and where both are equal the host sets the pace"),
    Metric("runtime_s", "latency in the runtime", "s", "lower", "sampled", "infer",
           "seconds of a call by the runtime's own clock; the latency also includes the call from Python"),
    Metric("gpu_allocated_peak_bytes", "GPU allocated peak", "bytes", "lower", "sampled", "any",
           "most bytes of tensors that the device's allocator gave out"),
    Metric("gpu_reserved_peak_bytes", "GPU reserved peak", "bytes", "lower", "sampled", "any",
           "most bytes that the device's allocator reserved"),
    Metric("gpu_process_bytes", "GPU process memory", "bytes", "lower", "sampled", "any",
           "memory of the process, by NVML"),
    Metric("gpu_power_w", "GPU power", "W", "lower", "sampled", "any",
           "mean power of the board, by NVML"),
    Metric("gpu_utilization", "GPU utilization", "share", "neither", "sampled", "any",
           "share of time that a kernel ran, by NVML"),
    Metric("gpu_clocks_held", "GPU clocks lowered", "share", "neither", "sampled", "any",
           "share of samples under load in which NVML reports a reason for lower clocks, which is named"),
    Metric("gpu_power_limited", "GPU at its power limit", "share", "neither", "sampled", "any",
           "share of the timed pass in which the board's power limit lowered its clocks, by NVML"),
    Metric("gpu_throttled", "GPU throttled", "share", "lower", "sampled", "any",
           "share of the timed pass in which heat or the board lowered its clocks, by NVML"),
    Metric("energy_j", "energy", "J", "lower", "sampled", "any",
           "energy of one call by a hardware counter, averaged over calls of a second or more together"),
)
# fmt: on

METRICS = MetricTable(_ROWS)


def metric_named(name: str) -> Metric:
    """Return a metric's row; of one that nothing here knows, a row that says so."""
    known = METRICS.get(name)
    return known or Metric(name, name, "", "neither", "seeded", "any", "not a metric of this version")
