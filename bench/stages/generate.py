"""Generates text with a lowered language model, token by token, with its key-value cache."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.analysis.generation import GenerationPoint, points_of
from bench.instruments.generation import time_generation
from bench.instruments.memory import PeakResident, give_back_freed, resident_bytes
from bench.instruments.speed import reference_s
from bench.models.files import load_outputs
from bench.records import Measurement, Request
from bench.stages.generated import (
    JUDGED_TEXTS,
    Judged,
    chosen_tokens,
    energy_per_token,
    quality,
    resident_of,
    timings,
)
from bench.stages.served_decoder import ServedDecoder
from bench.stages.settings import GenerateSettings
from bench.stages.timing import gpu_pass
from techniques.backends.text_engine import TextEngine
from techniques.registry import CannotApply

CONCURRENCY = (1, 2, 4, 8)
"""How many texts are continued at the same time, where the matrix does not say."""

MIN_TEXTS, MIN_GAPS = 6, 400
"""Enough for the median of first tokens and the 99th percentile of gaps."""

SMOKE_TOKENS = 4


@dataclass(frozen=True)
class _Variant:
    """A cache and a draft model, empty for the model's own and for none, with what is measured with them."""

    cache: str
    draft: str
    points: Sequence[GenerationPoint]

    @property
    def name(self) -> str:
        return " ".join(filter(None, [self.cache, self.draft and f"draft={self.draft}"]))

    @property
    def most_texts(self) -> int:
        return max(point.texts for point in self.points)


def run(request: Request[GenerateSettings], folder: Path) -> list[Measurement]:
    """Measure first tokens, the next ones and tokens a second at each point, and memory; judge the logits.

    A prompt begins a test window. Values have their point as qualifier, those of a cache its format. Quality,
    energy and an accelerator's memory are of the first launch. Peaks of memory are each point's own, over
    what was resident before any model was loaded.
    """
    # A GPU's clock does not show in a product as small as this.
    before_s = reference_s() if request.device == "cpu" else None
    served = ServedDecoder(request)
    found: list[Measurement] = []
    before_bytes = resident_bytes()
    with torch.inference_mode():
        for variant in _variants(request, served.window):
            found += _measured(served, variant, before_bytes)
            served.close()
    times = [entry.value for entry in found if entry.metric == "batch_s" and entry.value is not None]
    if before_s is not None:
        method = "the slower of before and after the timed pass"
        found.append(Measurement("reference_s", max(before_s, reference_s()), method=method))
    return [*found, Measurement("generation_s", sum(times), n=len(times)), *_most(found)]


def _most(found: Sequence[Measurement]) -> list[Measurement]:
    """Return the largest of the peaks of memory, of loading and of all points."""
    most: dict[str, Measurement] = {}
    for entry in found:
        if entry.metric in ("peak_rss_bytes", "rss_growth_bytes") and entry.value is not None:
            before = most.get(entry.metric)
            if before is None or (before.value or 0.0) < entry.value:
                most[entry.metric] = Measurement(entry.metric, entry.value, method=entry.method)
    return list(most.values())


def _variants(request: Request[GenerateSettings], window: int) -> Iterator[_Variant]:
    """Yield the model's own cache without a draft, then each further cache, then each draft."""
    settings = request.settings
    prompts = settings.prompt_tokens or (window // 2,)
    new = (SMOKE_TOKENS,) if request.smoke else settings.new_tokens or (max(1, window - max(prompts)),)
    lengths = [(prompt, tokens) for prompt in prompts for tokens in new if prompt + tokens <= window]
    if not lengths:
        least = min(prompts) + min(new)
        raise CannotApply(f"prompt and new tokens are {least} at least; {settings.workload} has {window}")
    further = [*((name, "") for name in settings.caches), *(("", name) for name in settings.drafts)]
    for cache, draft in [("", ""), *further]:
        yield _Variant(cache, draft, points_of(lengths, settings.texts or CONCURRENCY, cache, draft))


def _measured(served: ServedDecoder, variant: _Variant, before_bytes: int) -> list[Measurement]:
    own, started = not variant.name, time.perf_counter()
    loading = PeakResident(before_bytes)
    try:
        with loading:
            engine = served.engine(variant.most_texts, variant.cache, variant.draft)
    except CannotApply as error:
        if own:
            raise
        return [Measurement("cache_bytes_per_token", None, qualifier=variant.name, reason=str(error))]
    loaded_s = time.perf_counter() - started
    found = resident_of(loading, f"load {variant.name}".rstrip())
    found += [Measurement("load_s", loaded_s)] if own else []
    for point in variant.points:
        give_back_freed()
        with PeakResident(before_bytes) as resident:
            found += _at(served, engine, point)
        found += resident_of(resident, point.qualifier)
    size = engine.cache_bytes_per_token()
    reason = "" if size is not None else "the engine does not tell the size of its cache"
    found.append(Measurement("cache_bytes_per_token", size, qualifier=variant.name, reason=reason))
    if served.request.all_passes:
        found += _passes(served, engine, variant, size)
    return found


def _at(served: ServedDecoder, engine: TextEngine, point: GenerationPoint) -> list[Measurement]:
    smoke = served.request.smoke
    count = MIN_TEXTS if smoke else max(MIN_TEXTS, math.ceil(MIN_GAPS / max(1, point.new - 1)))
    prompts = [served.texts(point.texts, point.prompt, number) for number in range(count)]
    try:
        generated = time_generation(engine, prompts, point.new)
    except ValueError as error:
        return [Measurement("valid", 0.0, qualifier=f"tokens {point.qualifier}", reason=str(error))]
    return timings(generated, point)


def _passes(
    served: ServedDecoder, engine: TextEngine, variant: _Variant, cache_bytes: float | None
) -> list[Measurement]:
    """Measure what the first launch alone does: quality, energy, least bytes, an accelerator's memory."""
    request: Request[GenerateSettings] = served.request
    weights = served.decode_bytes(variant.draft)
    found: list[Measurement] = []
    for point in variant.points:
        call = _continuing(served, engine, point)
        found.append(energy_per_token(call, served.backend.synchronize, request, point))
        if cache_bytes is not None:
            read = weights + cache_bytes * point.texts * (point.prompt + point.new / 2)
            found.append(Measurement("decode_bytes", read, qualifier=point.qualifier))
    if variant.draft:
        prompts = served.texts(1, served.window // 2)
        return [*found, chosen_tokens(engine, prompts, request.settings, variant.name)]
    if not variant.cache:
        largest = max(variant.points)
        found += gpu_pass(_continuing(served, engine, largest), served.backend.synchronize, request)
    return [*found, *quality(engine, _judged(served), request.settings, variant.cache)]


def _judged(served: ServedDecoder) -> Judged:
    """Return test texts, what follows each of their tokens, and the eager fp32 model's logits of them."""
    whole = load_outputs(served.folder).main[:JUDGED_TEXTS]
    numbers = torch.arange(len(whole)) % len(served.data.test_targets)
    return Judged(served.texts(len(whole), served.window), served.data.test_targets[numbers], whole)


def _continuing(served: ServedDecoder, engine: TextEngine, point: GenerationPoint) -> Any:
    prompts = served.texts(point.texts, point.prompt)

    def call() -> None:
        for _ in engine.stream(prompts, point.new):
            pass

    return call
