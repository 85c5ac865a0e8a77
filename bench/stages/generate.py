"""Generates text with a lowered language model, token by token, with its key-value cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.errors import StageError
from bench.instruments.generation import (
    Generated,
    Generator,
    cache_bytes_per_token,
    cache_divergence,
    cache_fault,
    time_generation,
)
from bench.records import Measurement, Request
from bench.stages.inputs import load_backend, load_lowered, parent_folder
from bench.stages.settings import GenerateSettings
from bench.stages.timing import quantile_of
from bench.workloads.loading import example_batch, load_workload
from bench.workloads.workload import Workload
from techniques.backends.protocol import TorchProgram
from techniques.precisions import PRECISIONS

CONCURRENCY = (1, 2, 4, 8)
"""How many texts are continued at the same time."""

MIN_TEXTS, MIN_GAPS = 6, 400
"""Enough for the median of first tokens and the 99th percentile of gaps."""

SMOKE_TOKENS = 4


@dataclass(frozen=True)
class _Texts:
    """The prompts of a run, by how many are continued at once and their number, and the length of each."""

    prompts: Callable[[int, int], torch.Tensor]
    count: int
    tokens: int
    synchronize: Callable[[], None]

    def generated(self, generator: Generator) -> list[Generated]:
        """Time the texts at each concurrency."""
        return [
            time_generation(
                generator,
                [self.prompts(size, number) for number in range(self.count)],
                self.tokens,
                self.synchronize,
            )
            for size in CONCURRENCY
        ]

    @property
    def most(self) -> torch.Tensor:
        """Return the first prompts at the highest concurrency."""
        return self.prompts(CONCURRENCY[-1], 0)


def run(request: Request[GenerateSettings], folder: Path) -> list[Measurement]:
    """Measure the first token, the next ones and tokens a second at each concurrency; judge the cache.

    A prompt is the first half of a test window; as many tokens are made as its second half has. What is
    measured with the cache in a further format has that as its qualifier.
    """
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    backend = load_backend(settings)
    lowered = parent_folder(request, "lowered")
    program = load_lowered(backend, lowered, settings, request.threads)
    if workload.generator is None:
        raise StageError(f"{settings.workload} declares generation but has no generator")
    if not isinstance(program, TorchProgram) or not isinstance(program.run, torch.nn.Module):
        raise StageError(f"{settings.backend.text} runs no module that could generate")
    generator = workload.generator(program.run)
    length = data.test_inputs.shape[1]
    tokens = SMOKE_TOKENS if request.smoke else length - length // 2
    count = MIN_TEXTS if request.smoke else max(MIN_TEXTS, math.ceil(MIN_GAPS / max(1, tokens - 1)))

    def prompts(sequences: int, number: int) -> torch.Tensor:
        return program.prepare(example_batch(workload, data, sequences, number)[:, : length // 2])

    texts = _Texts(prompts, count, tokens, backend.synchronize)
    own = _with_cache(generator, texts)
    allowed = PRECISIONS[settings.precision].relative_error
    # In fewer bits the likeliest two often tie, and which of them comes first means nothing.
    exact = settings.precision == "fp32"
    fault = cache_fault(generator, program.run, texts.most, tokens, allowed, same_tokens=exact)
    return [
        *own,
        Measurement("valid", float(not fault), qualifier="cache", reason=fault),
        *(
            entry
            for name in settings.caches
            for entry in _with_further(name, workload, program.run, generator, texts)
        ),
    ]


def _with_further(
    name: str, workload: Workload, model: torch.nn.Module, reference: Generator, texts: _Texts
) -> list[Measurement]:
    """Measure generation with the cache in a further format, and how far it is from the model's own."""
    if name not in workload.caches:
        known = ", ".join(workload.caches) or "no format but its own"
        reason = f"the workload has no cache in {name}; it has {known}"
        return [Measurement("cache_bytes_per_token", None, qualifier=name, reason=reason)]
    generator = workload.caches[name](model)
    found = cache_divergence(reference, generator, texts.most, texts.tokens)
    return [
        *_with_cache(generator, texts, name),
        Measurement("cache_kl", found.nats, qualifier=name),
        Measurement("cache_agreement", found.agreement, qualifier=name),
    ]


def _with_cache(generator: Generator, texts: _Texts, name: str = "") -> list[Measurement]:
    size = cache_bytes_per_token(generator, texts.most, texts.tokens)
    return [
        *(entry for each in texts.generated(generator) for entry in timings(each, name)),
        Measurement("cache_bytes_per_token", size, qualifier=name),
    ]


def timings(generated: Generated, cache: str = "") -> list[Measurement]:
    """Measure a run's times, each under its number of sequences, and the cache's format where it has one."""
    place = f"{generated.sequences} {cache}".rstrip()
    return [
        quantile_of("ttft_s", generated.first_s, 0.5, place),
        quantile_of("inter_token_s", generated.gaps_s, 0.5, place),
        quantile_of("inter_token_p99_s", generated.gaps_s, 0.99, place),
        Measurement("tokens_per_s", generated.tokens_per_s, n=len(generated.first_s), qualifier=place),
    ]
