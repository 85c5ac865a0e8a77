"""Inductor's packages of a decoder continue texts as eager PyTorch does. Compiling them takes a while."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

from techniques.backends import BACKENDS
from techniques.backends.inductor_decoder import CudaInductorDecoder, InductorDecoder
from techniques.backends.text_engine import EngineOptions
from techniques.registry import CannotApply
from tests.support.tiny_decoder import (
    FP32,
    NEW,
    OPTIONS,
    PROMPT,
    assert_continues,
    continued,
    some_texts,
    tiny_decoder,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BACKENDS.get("inductor-decoder").unavailable() is not None, reason="requires a C++ compiler"
    ),
]


@pytest.mark.parametrize("heads", [3, 6], ids=["one-key-head", "two-key-heads"])
def test_packages_of_prompts_and_of_one_more_token_continue_texts(tmp_path, heads):
    backend, model = InductorDecoder(), tiny_decoder(heads=heads)
    backend.lower(model, torch.zeros(1), FP32, (), tmp_path)
    assert_continues(backend, tmp_path, model, some_texts())
    with pytest.raises(CannotApply, match="has no cache in int8"):
        backend.text_engine(tmp_path, FP32, 1, EngineOptions("int8"))
    with pytest.raises(CannotApply, match="a causal language model of transformers"):
        backend.lower(torch.nn.Linear(2, 2), torch.zeros(1, 2), FP32, (), tmp_path)


@pytest.mark.skipif(
    BACKENDS.get("cuda-inductor-decoder").unavailable() is not None, reason="requires an NVIDIA GPU"
)
def test_cuda_packages_continue_texts_as_the_cpu_does(tmp_path):
    texts, folders = some_texts(), [tmp_path / name for name in ("cpu", "cuda")]
    engines = []
    for backend, folder in zip((InductorDecoder(), CudaInductorDecoder()), folders, strict=True):
        folder.mkdir()
        backend.lower(tiny_decoder(), torch.zeros(1), FP32, (), folder)
        engines.append((backend.text_engine(folder, FP32, 1, OPTIONS), texts.to(backend.device)))
    made, logits = (
        [call(engine, own) for engine, own in engines]
        for call in (
            lambda engine, own: continued(engine, own[:, :PROMPT], NEW),
            lambda engine, own: engine.logits(own, PROMPT),
        )
    )
    assert torch.equal(*made)
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-3)
