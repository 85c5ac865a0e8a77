"""Generates text with a lowered language model, token by token, with its key-value cache."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from bench.errors import StageError
from bench.instruments.generation import Generated, cache_bytes_per_token, cache_fault, time_generation
from bench.records import Measurement, Request
from bench.stages.inputs import load_backend, load_lowered, parent_folder
from bench.stages.settings import GenerateSettings
from bench.stages.timing import quantile_of
from bench.workloads.loading import example_batch, load_workload
from techniques.backends.protocol import TorchProgram
from techniques.precisions import PRECISIONS

CONCURRENCY = (1, 2, 4, 8)
"""How many texts are continued at the same time."""

MIN_TEXTS, MIN_GAPS = 6, 400
"""Enough for the median of first tokens and the 99th percentile of gaps."""

SMOKE_TOKENS = 4


def run(request: Request[GenerateSettings], folder: Path) -> list[Measurement]:
    """Measure the first token, the next ones and tokens a second at each concurrency; judge the cache.

    A prompt is the first half of a test window; as many tokens are made as its second half has.
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
    texts = MIN_TEXTS if request.smoke else max(MIN_TEXTS, math.ceil(MIN_GAPS / max(1, tokens - 1)))

    def prompts(sequences: int, number: int) -> torch.Tensor:
        return program.prepare(example_batch(workload, data, sequences, number)[:, : length // 2])

    generated = [
        time_generation(
            generator, [prompts(size, number) for number in range(texts)], tokens, backend.synchronize
        )
        for size in CONCURRENCY
    ]
    most, precision = prompts(CONCURRENCY[-1], 0), settings.precision
    allowed = PRECISIONS[precision].relative_error
    # In fewer bits the likeliest two often tie, and which of them comes first means nothing.
    exact = precision == "fp32"
    fault = cache_fault(generator, program.run, most, tokens, allowed, same_tokens=exact)
    return [
        *(entry for each in generated for entry in timings(each)),
        Measurement("cache_bytes_per_token", cache_bytes_per_token(generator, most, tokens)),
        Measurement("valid", float(not fault), qualifier="cache", reason=fault),
    ]


def timings(generated: Generated) -> list[Measurement]:
    """Measure a run's times, each under its number of sequences."""
    concurrency = str(generated.sequences)
    return [
        quantile_of("ttft_s", generated.first_s, 0.5, concurrency),
        quantile_of("inter_token_s", generated.gaps_s, 0.5, concurrency),
        quantile_of("inter_token_p99_s", generated.gaps_s, 0.99, concurrency),
        Measurement("tokens_per_s", generated.tokens_per_s, n=len(generated.first_s), qualifier=concurrency),
    ]
