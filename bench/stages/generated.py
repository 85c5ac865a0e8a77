"""Measurements of generated text: its times at a point, the energy of a token, how good the logits are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from bench.analysis.generation import GenerationPoint, acceptance
from bench.instruments.energy import WINDOW_S, measure_energy
from bench.instruments.generation import Generated, divergence, greedy_fault, logits_fault
from bench.instruments.memory import PeakResident
from bench.records import Measurement, Request
from bench.stages.settings import GenerateSettings
from bench.stages.timing import quantile_of
from techniques.backends.text_engine import DRAFTED, Scores, TextEngine
from techniques.precisions import PRECISIONS

JUDGED_TEXTS = 8
JUDGED_TOKENS = 32


def timings(generated: Generated, point: GenerationPoint) -> list[Measurement]:
    """Measure a point's times, each a median over batches, and tokens a second."""
    place, batches = point.qualifier, len(generated.first_s)
    found = [
        quantile_of("ttft_s", generated.first_s, 0.5, place),
        _per_token(generated, place),
        quantile_of("inter_token_s", generated.gaps_s, 0.5, place),
        quantile_of("inter_token_p99_s", generated.gaps_s, 0.99, place),
        Measurement("tokens_per_s", generated.tokens_per_s, n=batches, qualifier=place),
        Measurement("batch_s", generated.batch_s, n=batches, qualifier=place),
    ]
    if generated.own:
        found.append(quantile_of("engine_ttft_s", [each.first_s for each in generated.own], 0.5, place))
        known = [each.per_token_s for each in generated.own if each.per_token_s is not None]
        found += [quantile_of("engine_tpot_s", known, 0.5, place)] if known else []
    if point.draft:
        steps = generated.tokens_of_steps
        reason = "" if steps else "texts are too short for a step between the first and the last"
        kept = acceptance(steps, DRAFTED)
        found.append(Measurement("draft_acceptance", kept, n=len(steps), qualifier=place, reason=reason))
    return found


def _per_token(generated: Generated, place: str) -> Measurement:
    if not generated.per_token_s:
        return Measurement("tpot_s", None, qualifier=place, reason="no token follows the first step's")
    return quantile_of("tpot_s", generated.per_token_s, 0.5, place)


def energy_per_token(
    call: Callable[[], object],
    synchronize: Callable[[], None],
    request: Request[GenerateSettings],
    point: GenerationPoint,
) -> Measurement:
    """Measure the energy of a new token, with its share of the prompt's pass; `call` continues a batch."""
    window_s = 0.0 if request.smoke else WINDOW_S
    found = measure_energy(call, synchronize, request.device, window_s=window_s)
    value = None if found.value is None else found.value / (point.texts * point.new)
    return replace(found, metric="energy_per_token_j", value=value, qualifier=point.qualifier)


@dataclass(frozen=True)
class Judged:
    """Test texts (texts, time), the token after each of theirs, and the logits of the model in eager fp32.

    Those are (texts, time, symbols), read without a cache.
    """

    texts: torch.Tensor
    targets: torch.Tensor
    logits: torch.Tensor


def quality(
    engine: TextEngine, judged: Judged, settings: GenerateSettings, cache: str = ""
) -> list[Measurement]:
    """Measure an engine's logits with its cache against those of the model in eager fp32, without a cache.

    The first half of each text is read at once. With the model's own cache it is INVALID where they are
    further off than the precision allows, or where the engine continues with other tokens than its
    likeliest. A narrower `cache` is measured, as a qualifier, and not judged.
    """
    prompt = judged.texts.shape[1] // 2
    found = engine.logits(judged.texts, prompt)
    expected, right = judged.logits[:, prompt - 1 :], judged.targets[:, prompt - 1 :]
    differs = divergence(expected, found)
    nats = torch.nn.functional.cross_entropy(found.flatten(0, 1).double(), right.flatten())
    measured = [
        Measurement("generation_kl", differs.nats, n=right.numel(), qualifier=cache),
        Measurement("generation_agreement", differs.agreement, n=right.numel(), qualifier=cache),
        Measurement("generation_nats", float(nats), n=right.numel(), qualifier=cache),
        *_own_nats(engine, judged.texts, prompt, cache),
    ]
    if cache or settings.format is not None:
        return measured  # the evaluation of a format judges it by the format's own tolerance
    fault = logits_fault(found, expected, PRECISIONS[settings.precision].relative_error)
    return [
        *measured,
        Measurement("valid", float(not fault), qualifier="cache", reason=fault),
        chosen_tokens(engine, judged.texts[:, :prompt], settings),
    ]


def _own_nats(engine: TextEngine, texts: torch.Tensor, prompt: int, cache: str) -> list[Measurement]:
    """Measure the loss on the same tokens as the engine itself gives it, but for the last one's."""
    if not isinstance(engine, Scores):
        return []
    likely = engine.log_probabilities(texts)[:, prompt - 1 :]
    nats = -float(likely.double().mean())
    return [Measurement("engine_nats", nats, n=likely.numel(), qualifier=cache)]


def chosen_tokens(
    engine: TextEngine, prompts: torch.Tensor, settings: GenerateSettings, name: str = ""
) -> Measurement:
    """Judge whether an engine continues prompts (texts, time) with the tokens that are its likeliest."""
    tokens = min(JUDGED_TOKENS, prompts.shape[1])
    wrong = greedy_fault(engine, prompts, tokens, PRECISIONS[settings.precision].relative_error)
    return Measurement("valid", float(not wrong), qualifier=f"greedy {name}".rstrip(), reason=wrong)


def resident_of(resident: PeakResident, place: str) -> list[Measurement]:
    """Measure the peak of resident memory and its growth, at a place."""
    how, why = resident.method, resident.reason
    return [
        Measurement("peak_rss_bytes", resident.peak_bytes, method=how, reason=why, qualifier=place),
        Measurement("rss_growth_bytes", resident.growth_bytes, method=how, reason=why, qualifier=place),
    ]
