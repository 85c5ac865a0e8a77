"""A model's outputs against the uncompressed model's: divergence, calibration, and right answers by item.

Reports compare two models on the same test items by what is kept of each item here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.analysis.calibration import Answers, Estimated, calibration, mean_over_items
from bench.errors import StageError
from bench.models.by_answer import Answered, by_answer, class_targets
from bench.models.predictions import Predictions
from bench.records import Measurement
from bench.workloads.output_kinds import UNANSWERED
from bench.workloads.workload import Data, Workload

RESAMPLES, MIN_RESAMPLES = 200, 20
RESAMPLING_S = 1.0
"""Resampling takes no longer: a quality that is slow to compute is computed on fewer resamples, or none."""

MAX_ITEMS = 200_000
MAX_GROUPS = 100

_SEED = 0
_SAME = 1e-6
_SOFTMAX = "of the uncompressed eager model's probabilities to these"


@dataclass(frozen=True)
class Qualities:
    """The workload's metrics of quality as measured, the name of the first, and the seconds that took."""

    first: str
    measured: Sequence[Measurement]
    taken_s: float

    def value(self, metric: str) -> float | None:
        """Return what was measured of a metric, None of one that was not."""
        return next((entry.value for entry in self.measured if entry.metric == metric), None)


def fidelity(
    outputs: Predictions, reference: Predictions, data: Data, workload: Workload, qualities: Qualities
) -> list[Measurement]:
    """Measure what outputs on the whole test set are against the reference's, and keep what each item got.

    Nothing of outputs of another shape.
    """
    if outputs.main.shape != reference.main.shape:
        return []
    answered, targets = _answered(outputs, reference, data, workload)
    items = _items(outputs, reference, data, workload, qualities, answered if targets is not None else None)
    return [
        *(_against_reference(answered) if answered else []),
        *(_calibrated(answered) if answered and targets is not None else []),
        *items,
        *(_groups(items[0], data, workload, targets) if items else []),
    ]


def quality_by_item(
    outputs: Predictions, data: Data, workload: Workload, qualities: Qualities
) -> Measurement | None:
    """Keep of each test item what the workload's quality follows from; None where nothing kept tells it.

    It is `item_right`, `item_nats` or `resampled_quality`, as of `fidelity`.
    """
    answered, targets = _answered(outputs, outputs, data, workload)
    kept = _items(outputs, outputs, data, workload, qualities, answered if targets is not None else None)
    # What quality follows from comes last; squared errors alone stand for a quality of another name.
    return kept[-1] if kept and kept[-1].metric != "item_squared_error" else None


def _answered(
    outputs: Predictions, reference: Predictions, data: Data, workload: Workload
) -> tuple[Answered | None, torch.Tensor | None]:
    """Return what outputs say of each answer, and the targets of a workload that has classes."""
    kind = reference.kind
    assert kind is not None
    known = (workload.quality is not None or workload.has_targets) and workload.answers is None
    targets = class_targets(outputs.main, data.test_targets, kind) if known else None
    return by_answer(outputs.main, reference.main, kind, targets), targets


def _against_reference(answered: Answered) -> Iterator[Measurement]:
    kl = _of_items(answered.kl, answered.counted)
    yield _estimate("kl_divergence", mean_over_items(kl) if len(kl) else None, len(kl), _SOFTMAX)
    if answered.top is not None:
        top = _of_items(answered.top, answered.counted)
        yield Measurement("top5_agreement", float(top.mean()) if len(top) else None, n=len(top))


def _calibrated(answered: Answered) -> Iterator[Measurement]:
    counted = answered.counted
    count = int(counted.sum())
    columns = [answered.confidence, answered.right, answered.squared, answered.nats]
    arrays = [column[counted].numpy() for column in columns if column is not None]
    finite = count > 0 and all(np.isfinite(array).all() for array in arrays)
    item = counted.nonzero()[:, 0].numpy()
    found = calibration(Answers(item, *arrays)) if finite else {}
    for name in ("ece", "brier", "nll"):
        yield _estimate(name, found.get(name), count, "standard bootstrap over test items")


def _estimate(metric: str, found: Estimated | None, n: int, method: str) -> Measurement:
    if found is None or not math.isfinite(found.value):
        why = "no target counts" if not n else "outputs give some class no probability, or are not finite"
        return Measurement(metric, None, n=n, reason=why)
    return Measurement(metric, found.value, found.low, found.high, n=n, method=method)


def _items(
    outputs: Predictions,
    reference: Predictions,
    data: Data,
    workload: Workload,
    qualities: Qualities,
    answered: Answered | None,
) -> list[Measurement]:
    """Keep what each test item got: right or not, else its error; and what quality follows from."""
    if len(outputs.main) > MAX_ITEMS:
        return []
    if workload.quality is None:
        kept = _right_of(answered, "accuracy") if answered else _kept(outputs, reference, workload)
        return [kept] if kept else []
    quality = qualities.value(qualities.first)
    own = [*_right(answered, qualities.value("accuracy")), *_errors(outputs, data)]
    if quality is None or (own and own[0].metric == "item_right" and _same(own[0].value, quality)):
        return own
    return [*own, _nats(answered, quality) or _resampled(workload, outputs, data.test_targets, qualities)]


def _right(answered: Answered | None, accuracy: float | None) -> list[Measurement]:
    """Keep right answers where their share is the workload's own accuracy: elsewhere they mean little."""
    if answered is None or answered.right is None or accuracy is None:
        return []
    share = answered.right[answered.counted].mean().item()
    kept = _right_of(answered, "accuracy")
    return [kept] if kept and _same(share, accuracy) else []


def _right_of(answered: Answered, metric: str) -> Measurement | None:
    if answered.right is None:
        return None
    return _kept_values("item_right", _of_items(answered.right, answered.counted), metric)


def _kept(outputs: Predictions, reference: Predictions, workload: Workload) -> Measurement | None:
    """Keep whether each item's answers are those of the given model."""
    assert reference.kind is not None
    read = workload.answers or reference.kind.answers
    own, before = read(outputs.main), read(reference.main)
    if own is None or before is None or own.shape != before.shape:
        return None
    same = ((own == before) & (before != UNANSWERED)).reshape(len(own), -1).double().mean(dim=1)
    return _kept_values("item_right", same.numpy(), "quality")


def _errors(outputs: Predictions, data: Data) -> list[Measurement]:
    main, targets = outputs.main, data.test_targets
    if outputs.kind is None or outputs.kind.name != "values" or main.shape != targets.shape:
        return []
    if main.is_complex() or targets.is_complex():
        return []
    squared = (main.double() - targets.double()).square().reshape(len(main), -1).mean(dim=1).numpy()
    return [_kept_values("item_squared_error", squared, "mse")] if np.isfinite(squared).all() else []


def _nats(answered: Answered | None, quality: float) -> Measurement | None:
    """Keep cross-entropies where the quality is the likelihood that follows from them."""
    if answered is None or answered.nats is None:
        return None
    nats = _of_items(answered.nats, answered.counted)
    if not len(nats) or not np.isfinite(nats).all() or abs(math.exp(-float(nats.mean())) - quality) > 1e-5:
        return None
    return _kept_values("item_nats", nats, "likelihood")


def _resampled(
    workload: Workload, outputs: Predictions, targets: torch.Tensor, qualities: Qualities
) -> Measurement:
    """Keep the quality on resamples of the test items, the same ones for every model."""
    assert workload.quality is not None
    measure, metric, quality = workload.quality, qualities.first, qualities.value(qualities.first)
    random = np.random.default_rng(_SEED)
    items = len(targets)

    def measured(rows: np.ndarray) -> float:
        chosen = torch.from_numpy(rows)
        return measure(outputs.rows(chosen).as_returned, targets[chosen])[metric]

    def none(reason: str) -> Measurement:
        return Measurement("resampled_quality", quality, n=0, method=metric, reason=reason)

    count = min(RESAMPLES, int(RESAMPLING_S / max(qualities.taken_s, 1e-9)))
    if count < MIN_RESAMPLES:
        return none(f"computing the quality takes {1e3 * qualities.taken_s:.0f} ms: too long to do it often")
    try:
        if not _same(quality, measured(random.permutation(items))):
            return none("the quality depends on the order of the test items")
        values = [measured(random.integers(0, items, items)) for _ in range(count)]
    except Exception as error:  # of a workload's own function, on items that were drawn twice or not at all
        return none(f"the quality of a resample fails: {type(error).__name__}"[:200])
    if not all(math.isfinite(value) for value in values):
        return none("the quality of a resample is not a number")
    return Measurement("resampled_quality", quality, n=count, method=metric, samples=tuple(values))


def _groups(
    kept: Measurement, data: Data, workload: Workload, targets: torch.Tensor | None
) -> Iterator[Measurement]:
    """Keep the group of each test item that is kept, in every column that the workload has."""
    if kept.metric not in ("item_right", "item_squared_error"):
        return
    items = len(data.test_inputs)
    counted = np.ones(items, dtype=bool)
    columns: dict[str, np.ndarray] = {}
    if targets is not None and kept.metric == "item_right" and kept.method == "accuracy":
        numbers = targets.reshape(items, -1)
        counted = (numbers >= 0).any(dim=1).numpy()
        if numbers.shape[1] == 1 and workload.classes:
            columns["class"] = np.asarray(workload.classes)[numbers[:, 0].clamp(min=0).numpy()]
    for name, values in workload.columns(data).items():
        if len(values) != items:
            raise StageError(f"column {name!r} has {len(values):,} values for {items:,} test samples")
        columns[name] = np.asarray([str(value) for value in values])
    for name, column in columns.items():
        groups, numbers_of = np.unique(column[counted], return_inverse=True)
        if len(groups) > MAX_GROUPS:
            why = f"{len(groups):,} groups: at most {MAX_GROUPS} are compared"
            yield Measurement("item_group", len(groups), qualifier=name, reason=why)
            continue
        yield Measurement(
            *("item_group", len(groups)),
            n=len(numbers_of),
            qualifier=name,
            method=json.dumps([str(group) for group in groups]),
            samples=tuple(map(float, numbers_of)),
        )


def _of_items(values: torch.Tensor, counted: torch.Tensor) -> np.ndarray:
    """Return the mean over each item's answers that count, (items,); of none, the item is left out."""
    counts = counted.sum(dim=1)
    sums = values.masked_fill(~counted, 0.0).sum(dim=1)
    means: np.ndarray = (sums / counts)[counts > 0].numpy()
    return means


def _kept_values(metric: str, values: np.ndarray, method: str) -> Measurement:
    mean = float(values.mean()) if len(values) else None
    return Measurement(metric, mean, n=len(values), method=method, samples=tuple(map(float, values)))


def _same(one: float | None, other: float) -> bool:
    return one is not None and math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME)
