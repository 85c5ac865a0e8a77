"""Models of kinds that people have answer on each runtime as they do in PyTorch, at sizes that hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.instruments.copies import copy_of
from bench.instruments.sizes import folder_bytes
from bench.stages import lower
from techniques.backends import BACKENDS
from techniques.backends.onnx_runtime import OnnxRuntime
from techniques.backends.protocol import Numerics

RUNTIMES = [
    name for name in ("cpu-eager", "onnxruntime", "openvino") if BACKENDS.get(name).unavailable() is None
]
FP32 = Numerics(None, "fp32")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Padded(nn.Module):
    """Token 0 is padding, masked in a transformer: PyTorch's fast path makes nested tensors of it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16, padding_idx=0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.block, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        empty = tokens == 0
        hidden = self.block(self.words(tokens), src_key_padding_mask=empty)
        summed = hidden.masked_fill(empty.unsqueeze(-1), 0).sum(1)
        outputs: torch.Tensor = self.head(summed / (~empty).sum(1, keepdim=True))
        return outputs


class Bytes(nn.Module):
    """Takes uint8 images and scales them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.convolution(images.float() / 255)).mean((2, 3))
        outputs: torch.Tensor = self.head(hidden)
        return outputs


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(20, 8, mode="mean"), nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.head(self.bag(tokens))
        return outputs


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        outputs: torch.Tensor = self.head(batch)
        return outputs


def padded_tokens() -> torch.Tensor:
    tokens = torch.randint(1, 20, (4, 6), generator=seeded())
    for number in range(4):
        tokens[number, 2 + number :] = 0
    return tokens


KINDS: dict[str, tuple[type[nn.Module], torch.Tensor]] = {
    "padding mask": (Padded, padded_tokens()),
    "uint8": (Bytes, torch.randint(0, 256, (4, 3, 8, 8), generator=seeded()).to(torch.uint8)),
    "embedding bag": (Bag, torch.randint(0, 20, (4, 5), generator=seeded())),
    "counting": (Counting, torch.randn(4, 8, generator=seeded())),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_answers_as_it_does_in_pytorch(runtime: str, kind: str, tmp_path: Path) -> None:
    if reason := BACKENDS.get(runtime).unavailable():
        pytest.skip(str(reason))
    build, batch = KINDS[kind]
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        expected = model(batch)
    backend = BACKENDS.parse(runtime).create()
    backend.lower(copy_of(model), batch.clone(), FP32, [], tmp_path)
    program = backend.load(tmp_path, build, FP32, 1)
    outputs = program.to_tensor(program(program.prepare(batch))).clone()
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [float("-inf"), -1e9], ids=["infinity", "a large number"])
def test_int8_scales_leave_masks_out(masked: float, tmp_path: Path) -> None:
    class Masking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(20, 16), nn.Linear(16, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            hidden = self.words(tokens)
            scores = hidden @ hidden.transpose(1, 2) + torch.where(tokens == 0, masked, 0.0).unsqueeze(1)
            outputs: torch.Tensor = self.head((scores.softmax(-1) @ hidden).mean(1))
            return outputs

    torch.manual_seed(0)
    model, tokens = Masking().eval(), padded_tokens()
    with torch.no_grad():
        expected = model(tokens)
    static = Numerics("int8-static", "fp32")
    OnnxRuntime().lower(copy_of(model), tokens, static, [tokens], tmp_path)
    program = OnnxRuntime().load(tmp_path, Masking, static, 1)
    outputs = program.to_tensor(program(program.prepare(tokens)))
    assert functional.cosine_similarity(outputs.flatten(), expected.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_a_models_operations_are_counted(kind: str) -> None:
    build, batch = KINDS[kind]
    counted = {entry.metric: entry for entry in lower._operations(build().eval(), batch)}
    assert counted["flops_complete"].value == 1, counted["flops_complete"].reason
    assert counted["dense_flops"].value > 0


class Tied(nn.Module):
    """An output layer that is its embedding, and two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(256, 64), nn.Linear(64, 256, bias=False)
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.out.weight, self.second.weight = self.words.weight, self.first.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.second(functional.relu(self.first(self.words(tokens))))
        outputs: torch.Tensor = self.out(hidden).mean(1)
        return outputs


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_that_are_shared_take_their_bytes_once(runtime: str, tmp_path: Path) -> None:
    if reason := BACKENDS.get(runtime).unavailable():
        pytest.skip(str(reason))
    build: Callable[[], nn.Module] = Tied
    torch.manual_seed(0)
    model, tokens = build().eval(), torch.arange(8).view(1, 8)
    with torch.no_grad():
        expected = model(tokens)
    backend = BACKENDS.parse(runtime).create()
    backend.lower(copy_of(model), tokens, FP32, [], tmp_path)
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert weights <= folder_bytes(tmp_path).raw < weights + 4 * 64 * 64  # the smaller of the two
    program = backend.load(tmp_path, build, FP32, 1)
    torch.testing.assert_close(
        program.to_tensor(program(program.prepare(tokens))), expected, rtol=1e-4, atol=1e-5
    )
