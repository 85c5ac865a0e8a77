"""Inductor's packages of a decoder continue texts as eager PyTorch does. Compiling them takes a while."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

from techniques.backends import BACKENDS
from techniques.backends.inductor_decoder import InductorDecoder
from techniques.backends.text_engine import EngineOptions
from techniques.registry import CannotApply
from tests.support.tiny_decoder import FP32, assert_continues, some_texts, tiny_decoder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BACKENDS.get("inductor-decoder").unavailable() is not None, reason="requires a C++ compiler"
    ),
]


def test_packages_of_prompts_and_of_one_more_token_continue_texts(tmp_path):
    backend, model = InductorDecoder(), tiny_decoder()
    backend.lower(model, torch.zeros(1), FP32, (), tmp_path)
    assert_continues(backend, tmp_path, model, some_texts())
    with pytest.raises(CannotApply, match="has no cache in int8"):
        backend.text_engine(tmp_path, FP32, 1, EngineOptions("int8"))
    with pytest.raises(CannotApply, match="a causal language model of transformers"):
        backend.lower(torch.nn.Linear(2, 2), torch.zeros(1, 2), FP32, (), tmp_path)
