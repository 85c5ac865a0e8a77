"""ONNX Runtime GenAI on the CPU: grouped-query attention with a shared buffer as its cache."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from techniques.backends.cached_decoder import cache_names, cache_shapes
from techniques.backends.kernels import kernels_of_onnx
from techniques.backends.protocol import Numerics, Program, ServesOnCpu
from techniques.backends.text_engine import (
    EngineOptions,
    NewTokens,
    TextEngine,
    decoder_of,
    refuse_cache,
)
from techniques.backends.tracing import OperatorTime
from techniques.outputs import compared
from techniques.registry import CannotApply

NAME = "ONNX Runtime GenAI"
MODEL = "model.onnx"
SUPPORTED = ("llama",)
"""Kinds of decoders that its model builder was tried with here."""


class OnnxRuntimeGenai(ServesOnCpu):
    """ONNX Runtime GenAI's generator on the CPU provider; its own model builder writes the file."""

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Write the decoder's ONNX file and configuration.

        Raises CannotApply for a model that is no decoder of a supported kind or has no tokenizer, and for one
        whose layers have other sizes than its configuration says, as a pruned one's.
        """
        decoder, tokenizer = decoder_of(model, NAME), getattr(model, "tokenizer", None)
        kind = decoder.config.model_type
        if kind not in SUPPORTED or tokenizer is None:
            raise CannotApply(f"{NAME} serves {', '.join(SUPPORTED)} with a tokenizer here, not this {kind}")
        _refuse_other_sizes(decoder)
        with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
            decoder.save_pretrained(place)
            tokenizer.save_pretrained(place)
            _build(Path(place), folder, numerics.precision)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read the file; a batch's outputs are the logits of whole texts."""
        return GenaiProgram(_open(folder, threads), folder / MODEL, threads)

    def text_engine(
        self, folder: Path, numerics: Numerics, threads: int, options: EngineOptions
    ) -> TextEngine:
        """Read the file; raises CannotApply for a cache in another format, and for a draft model."""
        refuse_cache(options.cache, (), NAME)
        if options.draft is not None:
            raise CannotApply(f"{NAME} has no draft models here")
        return GenaiTextEngine(_open(folder, threads, options.most_tokens))


class GenaiTextEngine:
    """Generators for texts of one length, side by side."""

    def __init__(self, generators: Generators) -> None:
        self._generators = generators
        self._bytes_per_token: float | None = None

    def stream(self, prompts: torch.Tensor, tokens: int) -> Iterator[NewTokens]:
        """Continue prompts (texts, time) by so many tokens each; see `TextEngine`."""
        generator = self._generators.begin(len(prompts))
        generator.append_tokens(_numbers(prompts))
        for _ in range(tokens):
            generator.generate_next_token()
            yield [[int(token)] for token in generator.get_next_tokens()]
        self._bytes_per_token = self._generators.cache_bytes(generator) / len(prompts)

    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        """Return logits of texts read with the cache; see `TextEngine`. One text after another is read."""
        return torch.cat([self._logits(text[None], prompt) for text in texts])

    def _logits(self, text: torch.Tensor, prompt: int) -> torch.Tensor:
        generator, found = self._generators.begin(1), []
        for part in (text[:, :prompt], *text[:, prompt:].split(1, dim=1)):
            generator.append_tokens(_numbers(part))
            found.append(np.array(generator.get_logits())[:, -1])
        return torch.from_numpy(np.stack(found, axis=1))

    def cache_bytes_per_token(self) -> float | None:
        """Return the bytes of the buffers over the tokens that they were made for; None before `stream`."""
        return self._bytes_per_token


@dataclass(frozen=True)
class GenaiProgram(Program):
    """A model whose calls read whole texts, each with an empty cache."""

    generators: Generators
    model: Path
    threads: int

    def prepare(self, batch: torch.Tensor) -> np.ndarray:
        """Return tokens (texts, time) as it takes them."""
        return _numbers(batch)

    def __call__(self, prepared: np.ndarray) -> Any:
        generator = self.generators.begin(len(prepared))
        generator.append_tokens(prepared)
        return generator.get_output("logits")

    def to_tensors(self, output: Any) -> tuple[torch.Tensor, ...]:
        """Return the logits (texts, time, symbols)."""
        return compared([torch.from_numpy(np.array(output))])

    def kernels(self, prepared: Any) -> list[str]:
        """Return the operators of the graph as ONNX Runtime optimizes it."""
        return kernels_of_onnx(self.model, self.threads, ())

    def trace(self, prepared: Sequence[Any], calls: int, path: Path) -> list[OperatorTime]:
        """Raise CannotApply: a generator's session has no profiler that can be read here."""
        raise CannotApply(f"{NAME} has no profiler of operators here")


class Generators:
    """Generators of one model by their number of texts, each of a length that no token ends early.

    A new one takes milliseconds, and one that begins again microseconds.
    """

    def __init__(self, genai: Any, model: Any, layers: int, length: int) -> None:
        self._genai, self._model, self._layers, self._length = genai, model, layers, length
        self._made: dict[int, Any] = {}

    def begin(self, texts: int) -> Any:
        """Return the generator of so many texts, with an empty cache."""
        if texts in self._made:
            self._made[texts].rewind_to(0)
        else:
            parameters = self._genai.GeneratorParams(self._model)
            sizes = {"batch_size": texts, "max_length": self._length, "min_length": self._length}
            parameters.set_search_options(**sizes, do_sample=False)
            self._made[texts] = self._genai.Generator(self._model, parameters)
        return self._made[texts]

    def cache_bytes(self, generator: Any) -> float:
        """Return the bytes of the buffers of keys and values, for each token that they have room for."""
        names = cache_names(self._layers, "present")
        return sum(np.array(generator.get_output(name)).nbytes for name in names) / self._length


def _open(folder: Path, threads: int, most_tokens: int | None = None) -> Generators:
    import onnxruntime_genai

    config = onnxruntime_genai.Config(str(folder))
    options = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    written = json.loads((folder / "genai_config.json").read_text())["model"]
    length = min(int(written["context_length"]), most_tokens or sys.maxsize)
    layers = int(written["decoder"]["num_hidden_layers"])
    return Generators(onnxruntime_genai, onnxruntime_genai.Model(config), layers, length)


def _build(source: Path, folder: Path, precision: str) -> None:
    """Let the model builder write the decoder of a folder of transformers."""
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    with tempfile.TemporaryDirectory() as cache:
        what = (None, str(source), str(folder), precision, "cpu", cache)
        create_model(*what, **parse_extra_options(*what, []))


def _refuse_other_sizes(decoder: Any) -> None:
    config = decoder.config
    channels = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    expected = (config.num_key_value_heads, channels)
    whole = all(shape == expected for shape in cache_shapes(decoder))
    widths = {layer.mlp.gate_proj.out_features for layer in decoder.model.layers}
    if not whole or widths != {config.intermediate_size}:
        raise CannotApply(f"{NAME} builds a decoder by its configuration; this one's layers have other sizes")


def _numbers(tokens: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tokens.numpy().astype(np.int32))
