"""OpenVINO GenAI on the CPU: continuous batching with a paged key-value cache, and a draft model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from techniques.backends.cached_decoder import INPUTS, LOGITS
from techniques.backends.nncf_formats import quantize
from techniques.backends.openvino_kernels import kernels_of_compiled, trace_request
from techniques.backends.openvino_runtime import (
    compile_model,
    configuration,
    refuse_other_numbers,
    refuse_precision,
)
from techniques.backends.openvino_stateful import BEAMS, stateful
from techniques.backends.protocol import Numerics, Program, ServesOnCpu
from techniques.backends.signal_stack import keeping_signal_stack
from techniques.backends.text_engine import (
    DRAFTED,
    EngineOptions,
    NewTokens,
    OwnTimes,
    TextEngine,
    decoder_of,
    refuse_cache,
)
from techniques.backends.tracing import OperatorTime
from techniques.outputs import as_numbers, compared
from techniques.registry import CannotApply

NAME = "OpenVINO GenAI"
MODEL, TOKENIZER, DETOKENIZER = "openvino_model.xml", "openvino_tokenizer.xml", "openvino_detokenizer.xml"
_CACHES = {"": {"fp32": "f32", "bf16": "bf16"}, "int8": {"fp32": "u8", "bf16": "u8"}}
_BLOCK = 32
"""Tokens of a block of its cache on a CPU."""

_NO_END = 0
"""Its configuration must name a token that ends a text; texts here have a fixed length and ignore it."""


class OpenVinoGenai(ServesOnCpu):
    """OpenVINO GenAI's pipeline of continuous batching, on the CPU plugin."""

    @keeping_signal_stack()
    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write the decoder as a stateful IR, and its tokenizer where the model has one.

        Raises CannotApply where the model is no decoder, and where the CPU or the plugin computes no product
        in the precision or format.
        """
        refuse_precision(numerics.precision)
        graph = stateful(decoder_of(model, NAME))
        if numerics.format is not None:
            graph = quantize(graph, numerics, calibration, len(example))
        import openvino

        openvino.save_model(graph, folder / MODEL, compress_to_fp16=False)
        refuse_other_numbers(folder / MODEL, numerics)
        _save_tokenizer(model, folder)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Compile the IR, whose logits of whole texts are a batch's outputs."""
        return _stateful_program(folder, _configuration(numerics, threads))

    @keeping_signal_stack()
    def text_engine(
        self, folder: Path, numerics: Numerics, threads: int, options: EngineOptions
    ) -> TextEngine:
        """Open a pipeline on the IR; raises CannotApply for a cache in another format than int8.

        A draft needs a tokenizer, which tells that both models have the same symbols.
        """
        refuse_cache(options.cache, ("int8",), NAME)
        if options.draft is not None and not (folder / TOKENIZER).exists():
            raise CannotApply(f"{NAME} compares the tokenizer of a draft with the model's, which has none")
        config = _configuration(numerics, threads, options.cache)
        program = _stateful_program(folder, config)
        return OpenVinoTextEngine(folder, config, options, program)


class OpenVinoTextEngine:
    """A pipeline that takes requests and gives each a token, or several, in each of its steps.

    `logits` are those of the same IR and configuration in the CPU plugin's own attention, which keeps the
    cache in one piece; `log_probabilities` are the pipeline's.
    """

    def __init__(
        self, folder: Path, config: Mapping[str, str], options: EngineOptions, program: StatefulProgram
    ) -> None:
        import openvino_genai

        self._genai: Any = openvino_genai
        self._blocks = options.most_texts * (-(-options.most_tokens // _BLOCK) + 1)
        draft: dict[str, Any] = {}
        if options.draft is not None:
            draft = {"draft_model": openvino_genai.draft_model(str(options.draft), "CPU", **config)}
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size, scheduler.num_kv_blocks = 0, self._blocks
        scheduler.max_num_seqs = options.most_texts
        scheduler.max_num_batched_tokens = options.most_texts * options.most_tokens
        scheduler.dynamic_split_fuse = scheduler.enable_prefix_caching = False
        self._pipeline: Any = openvino_genai.ContinuousBatchingPipeline(
            str(folder), scheduler, "CPU", {**config, **draft}
        )
        self._drafts = bool(draft)
        self._numbers = itertools.count()
        self._handles: list[Any] = []
        self._program = program

    def stream(self, prompts: torch.Tensor, tokens: int) -> Iterator[NewTokens]:
        """Continue prompts (texts, time) by so many tokens each; see `TextEngine`."""
        self._handles = [self.submit(prompt, tokens) for prompt in prompts]
        while self.unfinished():
            yield self.step(self._handles)

    def submit(self, prompt: torch.Tensor, tokens: int, **settings: Any) -> Any:
        """Let the pipeline continue a prompt (time,) from its next step on; returns the request's handle."""
        import openvino

        config = self._genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = tokens, True, False
        config.set_eos_token_id(_NO_END)
        if self._drafts:
            config.num_assistant_tokens = DRAFTED
        for name, value in settings.items():
            setattr(config, name, value)
        numbers = np.ascontiguousarray(prompt.numpy()[None])
        return self._pipeline.add_request(next(self._numbers), openvino.Tensor(numbers), config)

    def unfinished(self) -> bool:
        """Say whether a request has tokens to come."""
        return bool(self._pipeline.has_non_finished_requests())

    def step(self, handles: Sequence[Any]) -> NewTokens:
        """Take a step with all requests; return the new tokens of these."""
        self._pipeline.step()
        return [_read(handle)[0] for handle in handles]

    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        """Return logits of texts read with the cache; see `TextEngine`."""
        return self._program.logits(texts, prompt)

    def log_probabilities(self, texts: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the probability of each token but the first, as the pipeline echoes it."""
        # The echo is of prompts: one further token is made of each text.
        handles = [self.submit(text, 1, echo=True, logprobs=1) for text in texts]
        found: list[list[float]] = [[] for _ in handles]
        while self.unfinished():
            self._pipeline.step()
            for own, handle in zip(found, handles, strict=True):
                own += _read(handle)[1]
        return torch.tensor([own[1 : texts.shape[1]] for own in found])

    def cache_bytes_per_token(self) -> float:
        """Return the bytes of the pipeline's blocks over the tokens that they hold; a draft's are apart."""
        return float(self._pipeline.get_metrics().kv_cache_size_in_bytes) / (self._blocks * _BLOCK)

    def own_times(self) -> OwnTimes | None:
        """Return the pipeline's means of the latest texts: to the first token, and between tokens."""
        metrics = [handle.get_perf_metrics() for handle in self._handles]
        if not metrics:
            return None
        first_s = np.mean([entry.get_ttft().mean for entry in metrics]) / 1e3
        several = all(entry.get_num_generated_tokens() > 1 for entry in metrics)
        per_token_s = np.mean([entry.get_tpot().mean for entry in metrics]) / 1e3 if several else None
        return OwnTimes(float(first_s), None if per_token_s is None else float(per_token_s))


@dataclass(frozen=True)
class StatefulProgram(Program):
    """A compiled stateful model with one request: each call reads whole texts, with an empty cache."""

    compiled: Any
    request: Any
    model: Path
    config: Mapping[str, str]

    def prepare(self, batch: torch.Tensor) -> dict[str, np.ndarray]:
        """Return tokens (texts, time) as the model's inputs."""
        return _inputs(batch, 0)

    def __call__(self, prepared: Mapping[str, np.ndarray]) -> Any:
        self.request.reset_state()
        return self.request.infer(prepared, share_inputs=True, share_outputs=True)

    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        """Read a prompt's tokens at once, then the others one at a time; see `TextEngine`."""
        self.request.reset_state()
        parts = [(0, prompt), *((place, place + 1) for place in range(prompt, texts.shape[1]))]
        found = [
            self.request.infer(_inputs(texts[:, start:end], start))[LOGITS][:, -1] for start, end in parts
        ]
        return torch.from_numpy(np.stack(found, axis=1))

    def latest_call_s(self) -> float:
        """Return the seconds of the latest inference, as its request has counted them."""
        return float(self.request.latency) / 1e3

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return the logits (texts, time, symbols)."""
        return compared([as_numbers(output[LOGITS])])

    def kernels(self, prepared: Any) -> list[str]:
        """Return the operators that the plugin runs; see `kernels_of_compiled`."""
        return kernels_of_compiled(self.compiled, self.model, self.config)

    def trace(self, prepared: Sequence[Any], calls: int, path: Path) -> list[OperatorTime]:
        """Compile once more with counters of time and run; see `trace_request`."""
        compiled = compile_model(self.model, {**self.config, "PERF_COUNT": "YES"})
        return trace_request(_Forgetful(compiled.create_infer_request()), prepared, calls, path)


class _Forgetful:
    """A request that begins each inference with an empty cache."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def infer(self, inputs: Any, **options: Any) -> Any:
        self._request.reset_state()
        return self._request.infer(inputs, **options)

    @property
    def profiling_info(self) -> Any:
        return self._request.profiling_info


def _configuration(numerics: Numerics, threads: int, cache: str = "") -> dict[str, str]:
    own = {"KV_CACHE_PRECISION": _CACHES[cache][numerics.precision]}
    return {**configuration(numerics, threads), **own}


def _stateful_program(folder: Path, config: Mapping[str, str]) -> StatefulProgram:
    compiled = compile_model(folder / MODEL, config)
    return StatefulProgram(compiled, compiled.create_infer_request(), folder / MODEL, config)


def _inputs(tokens: torch.Tensor, read: int) -> dict[str, np.ndarray]:
    """Return tokens (texts, time) that follow `read` others, as a stateful model's inputs."""
    texts, time = tokens.shape
    places = np.broadcast_to(np.arange(read, read + time), (texts, time))
    mask = np.ones((texts, read + time), np.int64)
    own = (np.ascontiguousarray(tokens.numpy()), mask, np.ascontiguousarray(places))
    return {**dict(zip(INPUTS, own, strict=True)), BEAMS: np.arange(texts, dtype=np.int32)}


def _read(handle: Any) -> tuple[list[int], list[float]]:
    """Return the tokens that a request has got since it was read last, and their log-probabilities."""
    tokens: list[int] = []
    log_probabilities: list[float] = []
    while handle.can_read():
        for output in handle.read().values():
            tokens += output.generated_ids
            log_probabilities += output.generated_log_probs
    return tokens, log_probabilities


def _save_tokenizer(model: torch.nn.Module, folder: Path) -> None:
    """Write a model's tokenizer, if it has one, as OpenVINO's graphs."""
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        return
    import openvino
    from openvino_tokenizers import convert_tokenizer

    tokenize, detokenize = convert_tokenizer(tokenizer, with_detokenizer=True)
    openvino.save_model(tokenize, folder / TOKENIZER)
    openvino.save_model(detokenize, folder / DETOKENIZER)
