"""Compares which inputs a compressed model's answers rest on with those of the uncompressed model."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.analysis.calibration import mean_over_items
from bench.errors import StageError
from bench.models.attribution import STEPS, ClassScores, attributions, rank_agreement
from bench.models.files import load_model, load_outputs
from bench.records import Measurement, Request
from bench.stages.inputs import parent_folder
from bench.stages.robustness import spaced
from bench.stages.settings import AttributionSettings
from bench.workloads.loading import load_workload
from techniques.numbers import as_taken
from techniques.registry import CannotApply

ALL, FLIPPED = "all", "flipped"
_METRIC = "attribution_agreement"


def run(request: Request[AttributionSettings], folder: Path) -> list[Measurement]:
    """Measure the rank agreement of attributions of the uncompressed model's answers, eagerly on the CPU.

    Over test items evenly spaced, and over items whose answer is another. A model without gradients, or with
    other answers than one class for each item, says why it has none.
    """
    if find_spec("captum") is None:
        raise CannotApply("attributions need captum: pip install 'dl-efficiency-bench[attribution]'")
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    folders = [parent_folder(request, role) for role in ("model", "reference")]
    own, before = map(load_outputs, folders)
    kind = before.kind
    assert kind is not None  # the train stage recognised it
    answers, answers_before = kind.answers(own.main), kind.answers(before.main)
    scores = kind.class_scores(before.main)
    if workload.answers is not None or answers is None or answers_before is None or scores is None:
        return [Measurement(_METRIC, None, qualifier=ALL, reason="the answers are no classes")]
    if answers.numel() != len(answers) or answers.shape != answers_before.shape:
        return [Measurement(_METRIC, None, qualifier=ALL, reason="an item has several answers")]
    answers, answers_before = answers.flatten(), answers_before.flatten()
    models = [
        ClassScores(load_model(place, settings.workload), outputs.main_name, kind)
        for place, outputs in zip(folders, (own, before), strict=True)
    ]
    flipped = (answers != answers_before).nonzero().flatten()
    chosen = {
        ALL: spaced(len(answers), settings.items),
        FLIPPED: flipped[spaced(len(flipped), settings.flipped_items)] if len(flipped) else flipped,
    }
    measured = []
    for name, rows in chosen.items():
        measured.append(Measurement("attribution_items", len(rows), qualifier=name))
        if not len(rows):
            measured.append(Measurement(_METRIC, None, qualifier=name, reason="no item has another answer"))
            continue
        inputs = workload.transform(data.test_inputs[rows].clone())
        try:
            both = [attributions(model, as_taken(model, inputs), answers_before[rows]) for model in models]
        except (StageError, RuntimeError, NotImplementedError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            measured.append(Measurement(_METRIC, None, qualifier=name, reason=reason[:200]))
            continue
        measured.append(_agreement(rank_agreement(*both), name))
    return measured


def _agreement(found: np.ndarray, name: str) -> Measurement:
    known = found[~np.isnan(found)]
    if not len(known):
        return Measurement(_METRIC, None, qualifier=name, reason="no attribution has ranks")
    mean = mean_over_items(known, low=-1.0)
    method = f"integrated gradients, {STEPS} steps; interval over items"
    return Measurement(_METRIC, mean.value, mean.low, mean.high, n=len(known), method=method, qualifier=name)
