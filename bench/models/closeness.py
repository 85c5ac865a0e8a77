"""How near a runtime's outputs are to its model's, what share of the answers stays; the verdict on both."""

from __future__ import annotations

from dataclasses import replace

import torch

from bench.instruments.differences import Difference, difference
from bench.models.predictions import Predictions
from bench.records import Measurement
from bench.workloads.output_kinds import UNANSWERED, OutputKind
from bench.workloads.workload import Answers
from techniques.compression import Tolerance

COSINE = "all outputs as one vector"
_LABELS = "the outputs are labels"
_VALUES = "the outputs are values, not scores of answers"
_LABELS_KEPT, _LABELS_KEPT_IN_FP32 = 0.97, 0.999
_EXACT = 1e-4
"""The relative error of fp32: who is allowed no more gives the same labels but for ties."""


def closeness(
    outputs: torch.Tensor,
    own: torch.Tensor,
    allowed: Tolerance,
    kind: OutputKind,
    answers: Answers | None = None,
    *,
    few: bool = False,
) -> list[Measurement]:
    """Compare outputs (samples, ...) with those of the same model run eagerly, and judge them.

    Labels are judged by the share that stays, unless the samples are too `few` for one. Other shapes make the
    outputs invalid; nothing is raised.
    """
    same = agreement("top1_agreement", outputs, own, kind, answers)
    if outputs.shape != own.shape:
        shapes = f"{tuple(outputs.shape[1:])}, not {tuple(own.shape[1:])}"
        faults, measured = [f"outputs for each sample are of shape {shapes}"], []
    elif kind.name == "labels":
        faults, measured = [] if few else _label_faults(same, allowed), _unknown(_LABELS)
    else:
        found = difference(outputs, own, masks=kind.name != "values")
        faults, measured = _faults(found, same, allowed), _distances(found)
        if answers is None and allowed.relative_error is not None:
            faults += _turned(outputs, own, kind, found.scale, allowed.relative_error)
    return [*measured, same, Measurement("valid", float(not faults), reason="; ".join(faults))]


def _faults(found: Difference, same: Measurement, allowed: Tolerance) -> list[str]:
    faults = [found.fault] if found.fault else []
    if allowed.relative_error is not None and not found.relative <= allowed.relative_error:
        faults.append(f"relative error {found.relative:.2g} is over {allowed.relative_error:g}")
    if allowed.cosine is not None and not found.cosine >= allowed.cosine:
        faults.append(f"cosine {found.cosine:.4f} is under {allowed.cosine:g}")
    return faults + _too_few(same, allowed.top1_agreement)


def _turned(
    outputs: torch.Tensor, own: torch.Tensor, kind: OutputKind, largest: float, error: float
) -> list[str]:
    """Say so where more answers are others than may be, not counting those that are as good within `error`.

    The error is over the largest score of each sample here, or of the one in the middle where that is larger:
    a sample with large outputs makes the errors of the others look small. `largest` leaves masks out.
    """
    if kind.name not in ("scores", "logit") or own.is_complex():
        return []
    scores, found, wanted = kind.class_scores(own.double()), kind.answers(outputs), kind.answers(own)
    assert scores is not None and found is not None and wanted is not None
    scale = torch.where(scores.abs() <= largest, scores.abs(), 0.0).amax(dim=-1)
    scale = scale.clamp(min=scale.median().item()) if scale.numel() else scale
    pair = torch.stack([found, wanted], dim=-1).clamp(min=0)
    there, here = scores.gather(-1, pair).unbind(-1)
    share = ((found != wanted) & (here - there > 2 * error * scale)).double().mean().item()
    if not share > 1 - _LABELS_KEPT:
        return []
    return [f"{share:.1%} of the answers are others, by more than a relative error of {error:g} of each"]


def _label_faults(same: Measurement, allowed: Tolerance) -> list[str]:
    exact = allowed.relative_error is not None and allowed.relative_error <= _EXACT
    return _too_few(same, allowed.top1_agreement or (_LABELS_KEPT_IN_FP32 if exact else _LABELS_KEPT))


def _too_few(same: Measurement, least: float | None) -> list[str]:
    if least is None or same.value is None or same.value >= least:
        return []
    return [f"agreement {same.value:.4f} is under {least:g}"]


def _distances(found: Difference) -> list[Measurement]:
    nothing = "" if found.compared else "no output is finite in both"
    known = found.compared > 0
    return [
        Measurement("absolute_error", found.absolute if known else None, n=found.compared, reason=nothing),
        Measurement(
            "relative_error",
            found.relative if known else None,
            n=found.compared,
            method=found.method,
            reason=nothing,
        ),
        Measurement(
            "cosine", found.cosine if known else None, n=found.compared, method=COSINE, reason=nothing
        ),
    ]


def _unknown(reason: str) -> list[Measurement]:
    return [Measurement(name, None, reason=reason) for name in ("absolute_error", "relative_error", "cosine")]


def agreement(
    metric: str,
    outputs: torch.Tensor,
    reference: torch.Tensor,
    kind: OutputKind,
    answers: Answers | None = None,
) -> Measurement:
    """Measure the share of answers that are the same in both outputs (samples, ...), from 0 to 1.

    It is None where outputs have no answers or other shapes. What is NaN answers nothing, and agrees with
    nothing.
    """
    if outputs.shape != reference.shape:
        return Measurement(metric, None, reason="the outputs have other shapes")
    read = answers or kind.answers
    found, wanted = read(outputs), read(reference)
    if found is None or wanted is None:
        return Measurement(metric, None, reason=_VALUES)
    method = f"{kind.text}: {kind.basis}"
    same = (found == wanted) & (wanted != UNANSWERED)
    return Measurement(metric, same.double().mean().item(), n=len(outputs), method=method)


def kept_quality(
    kept: Measurement, outputs: torch.Tensor, reference: torch.Tensor, kind: OutputKind
) -> Measurement:
    """Measure the quality of a model that is served as it is: answers kept, else nearness to its outputs.

    Both outputs are (samples, ...). Nearness is their cosine as one vector; it is None where no number is
    finite in both, and for outputs of other shapes.
    """
    if kept.value is not None:
        return replace(kept, metric="quality", method=f"answers kept, {kept.method}")
    if outputs.shape != reference.shape:
        return replace(kept, metric="quality")
    found = difference(outputs, reference, masks=kind.name != "values")
    method = f"cosine to the given model's, {COSINE}"
    return Measurement("quality", found.cosine if found.compared else None, n=len(outputs), method=method)


def further_closeness(
    outputs: Predictions, own: Predictions, allowed: Tolerance, *, few: bool = False
) -> tuple[list[Measurement], list[str]]:
    """Compare all outputs but the main one, each by its name; return what is wrong with them, too.

    What they are is not known: integers are labels, all others values, of which the agreement of answers
    is not asked.
    """
    measured: list[Measurement] = []
    faults: list[str] = []
    for name, reference in own.further.items():
        whole = not reference.is_floating_point() and not reference.is_complex()
        kind = OutputKind("labels" if whole else "values")
        of_values = replace(allowed, top1_agreement=allowed.top1_agreement if whole else None)
        compared = closeness(outputs.tensors[name], reference, of_values, kind, few=few)
        entries = {entry.metric: entry for entry in compared}
        if whole:
            measured.append(replace(entries["top1_agreement"], metric="further_agreement", qualifier=name))
        elif "relative_error" in entries:
            measured.append(replace(entries["relative_error"], metric="further_error", qualifier=name))
        if not entries["valid"].value:
            faults.append(f"output {name}: {entries['valid'].reason}")
    return measured, faults
