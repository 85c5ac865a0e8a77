"""A decoder of two layers with a tokenizer of its own, and what every engine that serves it must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.instruments.generation import Stepwise, greedy_fault
from bench.workloads.cached_decoding import CachedDecoding
from bench.workloads.llama import LlamaDecoder
from bench.workloads.shakespeare_tokens import END, learn_tokenizer
from techniques.backends.protocol import Numerics
from techniques.backends.text_engine import EngineOptions, ServesTexts

FP32, PROMPT, NEW = Numerics(None, "fp32"), 12, 10
OPTIONS = EngineOptions(most_texts=3, most_tokens=64)


class TinyDecoder(LlamaDecoder):
    """Two layers of 96, with a tokenizer of its own."""

    def __init__(self, heads: int = 3) -> None:
        super().__init__(heads, layers=2)

    @property
    def tokenizer(self) -> Any:
        from transformers import PreTrainedTokenizerFast

        learned = learn_tokenizer(["Who goes there? Nay, answer me: stand, and unfold yourself."])
        marks = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END)
        return PreTrainedTokenizerFast(tokenizer_object=learned, **marks)


def tiny_decoder(seed: int = 0, heads: int = 3) -> TinyDecoder:
    torch.manual_seed(seed)
    return TinyDecoder(heads).eval()


def some_texts() -> torch.Tensor:
    """Return texts (3, PROMPT + NEW)."""
    return torch.randint(1, 1024, (3, PROMPT + NEW), generator=torch.Generator().manual_seed(0))


def continued(engine: Any, prompts: torch.Tensor, tokens: int) -> torch.Tensor:
    found: list[list[int]] = [[] for _ in prompts]
    for step in engine.stream(prompts, tokens):
        for text, new in zip(found, step, strict=True):
            text += new
    return torch.tensor(found)


@torch.no_grad()
def assert_continues(backend: Any, folder: Path, model: TinyDecoder, texts: torch.Tensor) -> None:
    """Hold an engine's tokens, logits, cache and program against eager PyTorch's."""
    assert isinstance(backend, ServesTexts)
    engine = backend.text_engine(folder, FP32, 1, OPTIONS)
    expected, whole = continued(Stepwise(CachedDecoding(model)), texts[:, :PROMPT], NEW), model(texts)
    assert torch.equal(continued(engine, texts[:, :PROMPT], NEW), expected)
    assert torch.equal(continued(engine, texts[:1, :PROMPT], NEW), expected[:1])  # whatever came before
    torch.testing.assert_close(engine.logits(texts, PROMPT), whole[:, PROMPT - 1 :], rtol=1e-4, atol=1e-5)
    assert greedy_fault(engine, texts[:, :PROMPT], NEW, 1e-4) == ""
    layers, heads, channels = 2, model.decoder.config.num_key_value_heads, 32
    assert engine.cache_bytes_per_token() == 2 * layers * heads * channels * 4
    program = backend.load(folder, TinyDecoder, FP32, 1)
    for _ in range(2):  # each call begins with an empty cache
        found = program.to_tensor(program(program.prepare(texts)))
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
    assert program.kernels(program.prepare(texts))
