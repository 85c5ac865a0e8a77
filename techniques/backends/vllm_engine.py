"""vLLM on an NVIDIA GPU: continuous batching with a paged key-value cache.

All that judges it is its own: the logits that the engine gives every symbol after each token of a text, which
it reads through its cache.

Written against the engine of vLLM 0.11 and later (`vllm.LLMEngine`), and of later ones than 0.13 for drafts,
which that one refuses (vLLM, pull request 24322); no GPU has run it yet.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from techniques.backends.accelerators import set_fp32_arithmetic, synchronize, torch_device
from techniques.backends.cached_decoder import cache_shapes
from techniques.backends.protocol import Numerics, Program, ServesOnly, TorchProgram
from techniques.backends.text_engine import (
    DRAFTED,
    EngineOptions,
    NewTokens,
    TextEngine,
    decoder_of,
    refuse_cache,
)
from techniques.numbers import in_numbers
from techniques.registry import CannotApply

NAME = "vLLM"
SUPPORTED = ("llama",)
"""Kinds of decoders whose weights it reads as transformers saves them."""

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_MEMORY_SHARE = 0.3
"""Share of the GPU's memory that it may reserve: several engines, one for each cache, may be open."""

_UNREAD = 1 + DRAFTED
"""Places of a text beyond those that a model reads: its last token, and what a draft proposes after it."""

_SCORED_TEXTS = 8
"""Texts that are scored at a time: each token has a Python object for each symbol."""


class Vllm(ServesOnly):
    """vLLM's engine, in this process, on the first CUDA device."""

    def __init__(self) -> None:
        self.device = torch_device("cuda")

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write the decoder as transformers does; raises CannotApply for what vLLM does not read so."""
        save_decoder(model, numerics, folder)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Start an engine, whose scores of whole texts are a batch's outputs."""
        longest = _read(folder, numerics).config.max_position_embeddings
        options = EngineOptions(most_texts=_SCORED_TEXTS, most_tokens=longest)
        engine = VllmTextEngine(folder, numerics, options)
        return TorchProgram(lambda tokens: engine.logits(tokens, 1), torch.device("cpu"), numerics.dtype)

    def text_engine(
        self, folder: Path, numerics: Numerics, threads: int, options: EngineOptions
    ) -> TextEngine:
        """Start an engine; raises CannotApply for a cache in another format than fp8.

        Also for a draft with other symbols, and where this vLLM takes no model as a draft.
        """
        refuse_cache(options.cache, ("fp8",), NAME)
        return VllmTextEngine(folder, numerics, options)

    def synchronize(self) -> None:
        """Wait until the device has finished its queue."""
        synchronize(self.device)


class VllmTextEngine:
    """An engine that takes requests and gives each a token, or several with a draft, in each of its steps.

    A draft has the model's precision and the format of its cache.
    """

    def __init__(self, folder: Path, numerics: Numerics, options: EngineOptions) -> None:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # its memory is this process's then
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        import vllm

        self._vllm: Any = vllm
        decoder = _read(folder, numerics)
        width = 1 if options.cache else torch.finfo(numerics.dtype).bits // 8
        self._cache_bytes = sum(2 * heads * channels * width for heads, channels in cache_shapes(decoder))
        self._symbols: int = decoder.config.vocab_size
        arguments: dict[str, Any] = {
            "model": str(folder),
            "skip_tokenizer_init": True,
            "dtype": _DTYPES[numerics.precision],
            "kv_cache_dtype": options.cache or "auto",
            "max_model_len": options.most_tokens,
            "max_logprobs": self._symbols,
            "logprobs_mode": "raw_logits",
            "max_num_seqs": options.most_texts,
            "gpu_memory_utilization": _MEMORY_SHARE,
            "enable_prefix_caching": False,
        }
        if options.draft is not None:
            arguments |= drafting(decoder.config, options.draft, options.most_tokens)
        try:
            self._engine: Any = vllm.LLMEngine.from_engine_args(vllm.EngineArgs(**arguments))
        except NotImplementedError as error:
            raise CannotApply(f"{NAME} {vllm.__version__}: {str(error).partition('.')[0]}") from error
        self._numbers = itertools.count()
        self._made: dict[str, int] = {}

    def stream(self, prompts: torch.Tensor, tokens: int) -> Iterator[NewTokens]:
        """Continue prompts (texts, time) by so many tokens each; see `TextEngine`."""
        handles = [self.submit(prompt, tokens) for prompt in prompts]
        while self.unfinished():
            yield self.step(handles)

    def submit(self, prompt: torch.Tensor, tokens: int, **settings: Any) -> str:
        """Let the engine continue a prompt (time,) from its next step on; return the request's name."""
        name = str(next(self._numbers))
        sampling = self._vllm.SamplingParams(
            temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False, **settings
        )
        self._engine.add_request(name, {"prompt_token_ids": prompt.tolist()}, sampling)
        self._made[name] = 0
        return name

    def unfinished(self) -> bool:
        """Say whether a request has tokens to come."""
        return bool(self._engine.has_unfinished_requests())

    def step(self, handles: Sequence[str]) -> NewTokens:
        """Take a step with all requests; return the new tokens of these."""
        found = self._step()
        return [found.get(name, []) for name in handles]

    def _step(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for output in self._engine.step():
            tokens = list(output.outputs[0].token_ids)  # all of the request so far
            found[output.request_id] = tokens[self._made[output.request_id] :]
            self._made[output.request_id] = len(tokens)
        return found

    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        """Return the logits of every symbol after each token from `prompt` on; see `TextEngine`.

        All of a text is read at once, through the engine's cache in its format.
        """
        found: dict[str, torch.Tensor] = {}
        names: list[str] = []
        for some in texts.split(_SCORED_TEXTS):
            names += [
                self.submit(text, 1, prompt_logprobs=self._symbols, logprobs=self._symbols) for text in some
            ]
            while self.unfinished():
                for output in self._engine.step():
                    after = [*output.prompt_logprobs[prompt:], *output.outputs[0].logprobs[:1]]
                    found[output.request_id] = as_rows(after, self._symbols)
        return torch.stack([found[name] for name in names])

    def log_probabilities(self, texts: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the probability of each token but the first, as the engine scores it."""
        likely = self.logits(texts, 1).log_softmax(dim=-1)[:, :-1]
        return likely.gather(2, texts[:, 1:, None].cpu())[..., 0]

    def cache_bytes_per_token(self) -> float:
        """Return the bytes of keys and values of a token in all layers, as its blocks hold them."""
        return float(self._cache_bytes)


def drafting(config: Any, draft: Path, most_tokens: int) -> dict[str, Any]:
    """Return the engine's arguments by which the decoder in `draft` proposes tokens to one of that config.

    Raises CannotApply where their symbols differ in number: a draft proposes numbers of symbols.
    """
    from transformers import AutoConfig

    own = AutoConfig.from_pretrained(draft, local_files_only=True)
    if own.vocab_size != config.vocab_size:
        raise CannotApply(
            f"{NAME} takes a draft with the model's {config.vocab_size} symbols, not with {own.vocab_size}"
        )
    speculative = {"method": "draft_model", "model": str(draft), "num_speculative_tokens": DRAFTED}
    # It proposes nothing beyond the longest text, and the last steps of one would be shorter than others.
    return {"speculative_config": speculative, "max_model_len": most_tokens + DRAFTED}


def as_rows(scored: Sequence[Mapping[int, Any]], symbols: int) -> torch.Tensor:
    """Return logits (tokens, symbols), fp32, from what vLLM says of each symbol after each token.

    Raises ValueError where one is lacking: what is not scored is not unlikely.
    """
    rows = torch.full((len(scored), symbols), torch.nan)
    for row, likely in zip(rows, scored, strict=True):
        row[list(likely)] = torch.tensor([entry.logprob for entry in likely.values()])
    if rows.isnan().any():
        raise ValueError(f"{NAME} scored {int((~rows.isnan()).sum())} of {rows.numel()} symbols")
    return rows


def save_decoder(model: torch.nn.Module, numerics: Numerics, folder: Path) -> None:
    """Write a model's decoder as transformers does; raises CannotApply for what vLLM does not read so.

    Its configuration has places for tokens that are made and never read: vLLM counts them, and keeps a table
    of rotations for as many as the configuration says, whatever length is asked for (vLLM, issue 48894).
    """
    decoder = decoder_of(model, NAME)
    kind = decoder.config.model_type
    if kind not in SUPPORTED:
        raise CannotApply(f"{NAME} serves {', '.join(SUPPORTED)} here, not this {kind}")
    cache_shapes(decoder)
    narrowed: Any = in_numbers(decoder, numerics.dtype)
    narrowed.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["max_position_embeddings"] += _UNREAD
    path.write_text(json.dumps(config, indent=2))


def _read(folder: Path, numerics: Numerics) -> Any:
    from transformers import AutoModelForCausalLM

    set_fp32_arithmetic(numerics.precision)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=numerics.dtype, local_files_only=True).eval()
