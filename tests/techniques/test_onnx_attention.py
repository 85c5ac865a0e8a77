"""An encoder of text, quantized for ONNX Runtime: products of three axes with a sum after them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.workloads import text_encoder
from techniques.backends import BACKENDS
from techniques.backends.numerics import Numerics

pytest.importorskip("onnxruntime")
pytest.importorskip("transformers")

WORDS, LENGTH = 100, 8


def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return text_encoder.small(WORDS, LENGTH, heads=1, layers=2, dropout=0.0).eval()


@pytest.mark.parametrize("format_", ["int8-static", "int8-dynamic", None])
def test_an_encoder_gives_its_own_outputs(tmp_path: Path, format_: str | None) -> None:
    random = torch.Generator().manual_seed(1)
    batches = list(torch.randint(1, WORDS, (32, 2, LENGTH), generator=random))
    numerics = Numerics(format_, "fp32")
    runtime = BACKENDS.default("onnxruntime").create()
    runtime.lower(encoder(), batches[0], numerics, batches, tmp_path)
    program = runtime.load(tmp_path, encoder, numerics, 1)
    with torch.no_grad():
        expected = encoder()(batches[1])
    found = program.to_tensor(program(program.prepare(batches[1])))
    assert torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.98
