"""Inductor, ahead of time, for decoders: a package that reads prompts, and one that reads a token more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from techniques.backends.accelerators import fp32_arithmetic, set_fp32_arithmetic, synchronize
from techniques.backends.cached_decoder import NextToken, Prompt, cache_shapes
from techniques.backends.inductor import packaged
from techniques.backends.protocol import Numerics, Program, ServesOnCpu, TorchProgram
from techniques.backends.text_engine import (
    EngineOptions,
    NewTokens,
    TextEngine,
    decoder_of,
    refuse_cache,
)
from techniques.numbers import in_numbers, refuse_complex
from techniques.registry import CannotApply

NAME = "Inductor"
PROMPT, NEXT = "prompt.pt2", "next.pt2"
MOST_TEXTS, MOST_TOKENS = 1024, 2**20


class InductorDecoder(ServesOnCpu):
    """Inductor's ahead-of-time packages of a decoder, for any number of texts and any length."""

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Compile both packages; raises CannotApply for what is no decoder, or keeps nothing of a layer."""
        decoder = decoder_of(model, NAME)
        refuse_complex(model, "a package that Inductor compiles")
        shapes = cache_shapes(decoder)
        decoder = in_numbers(decoder, numerics.dtype).eval().to(self.device)
        texts = torch.export.Dim("texts", min=1, max=MOST_TEXTS)
        time = torch.export.Dim("time", min=2, max=MOST_TOKENS)
        read = torch.export.Dim("read", min=1, max=MOST_TOKENS)
        # Sizes that differ, so that none is taken for another.
        prompts, token = (torch.ones(3, count, dtype=torch.int64, device=self.device) for count in (5, 1))
        cache = tuple(
            torch.zeros(3, heads, 7, channels, dtype=numerics.dtype, device=self.device)
            for heads, channels in shapes
            for _ in range(2)
        )
        packaged(Prompt(decoder), (prompts,), ({0: texts, 1: time},), folder / PROMPT)
        of_cache = tuple({0: texts, 2: read} for _ in cache)
        packaged(NextToken(decoder), (token, *cache), ({0: texts}, of_cache), folder / NEXT)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read the package of prompts, whose logits are a batch's outputs."""
        run: Any = torch._inductor.aoti_load_package(str(folder / PROMPT))
        return TorchProgram(lambda tokens: run(tokens)[0], self.device, numerics.dtype, folder / PROMPT)

    def text_engine(
        self, folder: Path, numerics: Numerics, threads: int, options: EngineOptions
    ) -> TextEngine:
        """Read both packages; raises CannotApply for a cache in another format, and for a draft model."""
        refuse_cache(options.cache, (), NAME)
        if options.draft is not None:
            raise CannotApply(f"{NAME} has no draft models here")
        return PackagedTextEngine(folder)


class CudaInductorDecoder(InductorDecoder):
    """The same packages of Triton kernels on the first CUDA device; no GPU has run them yet."""

    device = torch.device("cuda")

    def lower(
        self,
        model: torch.nn.Module,
        example: torch.Tensor,
        numerics: Numerics,
        calibration: Iterable[torch.Tensor],
        folder: Path,
    ) -> None:
        """Compile both packages on the GPU; raises CannotApply as for the CPU."""
        with fp32_arithmetic(numerics.precision):
            super().lower(model, example, numerics, calibration, folder)

    def load(
        self, folder: Path, build: Callable[[], torch.nn.Module], numerics: Numerics, threads: int
    ) -> Program:
        """Read the package of prompts; fp32 is multiplied as `numerics` says from then on."""
        set_fp32_arithmetic(numerics.precision)
        return super().load(folder, build, numerics, threads)

    def text_engine(
        self, folder: Path, numerics: Numerics, threads: int, options: EngineOptions
    ) -> TextEngine:
        """Read both packages; raises CannotApply as on the CPU."""
        set_fp32_arithmetic(numerics.precision)
        return super().text_engine(folder, numerics, threads, options)

    def synchronize(self) -> None:
        """Wait until the GPU has finished its queue."""
        synchronize(self.device)


class PackagedTextEngine:
    """Two packages: texts of one length get a token at a time, side by side."""

    def __init__(self, folder: Path) -> None:
        self._prompt: Any = torch._inductor.aoti_load_package(str(folder / PROMPT))
        self._next: Any = torch._inductor.aoti_load_package(str(folder / NEXT))
        self._bytes_per_token: float | None = None

    def stream(self, prompts: torch.Tensor, tokens: int) -> Iterator[NewTokens]:
        """Continue prompts (texts, time) by so many tokens each; see `TextEngine`."""
        logits, *cache = self._read(prompts)
        for number in range(1, tokens + 1):
            chosen = logits[:, -1].argmax(dim=-1, keepdim=True)
            yield chosen.tolist()
            if number < tokens:
                logits, *cache = self._next(chosen, *cache)
        read = len(prompts) * (prompts.shape[1] + tokens - 1)
        self._bytes_per_token = sum(part.numel() * part.element_size() for part in cache) / read

    def _read(self, prompts: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits of prompts, and the cache that they leave."""
        # A package reads what it gets as if it were contiguous; keys of several heads leave it transposed.
        return [part.contiguous() for part in self._prompt(prompts.contiguous())]

    def logits(self, texts: torch.Tensor, prompt: int) -> torch.Tensor:
        """Return logits of texts read with the cache; see `TextEngine`."""
        logits, *cache = self._read(texts[:, :prompt])
        found = [logits[:, -1]]
        for place in range(prompt, texts.shape[1]):
            logits, *cache = self._next(texts[:, place : place + 1].contiguous(), *cache)
            found.append(logits[:, -1])
        return torch.stack(found, dim=1).float().cpu()

    def cache_bytes_per_token(self) -> float | None:
        """Return the bytes of the cache that `stream` left, for each token that was read; None before."""
        return self._bytes_per_token
