"""Other frameworks train PyTorch's models, each in a process of its own; how their layouts are reconciled."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bench.workloads.image_classification import SimpleCNN
from bench.workloads.vision_models import ResidualBlock, VisionTransformer
from techniques.backends import BACKENDS
from techniques.backends.frameworks.exported import Exported, Value
from techniques.backends.frameworks.operators import OPERATORS
from techniques.backends.frameworks.weights import CONVOLUTION, SAME, host, linear
from techniques.registry import CannotApply
from tests.support.own_process import passes

FRAMEWORKS = ("keras-jax", "keras-torch", "keras-tensorflow", "jax")


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_trains_models_as_pytorch_does(name):
    if obstacle := BACKENDS.get(name).unavailable():
        pytest.skip(obstacle)
    passes(Path(__file__).with_name("frameworks_in_their_own_process.py"), {"BENCH_TEST_BACKEND": name})


@pytest.mark.slow
def test_tensorflow_and_litert_serve_models_as_pytorch_does():
    if obstacle := BACKENDS.get("tensorflow").unavailable():
        pytest.skip(obstacle)
    passes(Path(__file__).with_name("tensorflow_in_its_own_process.py"))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_only_trains_and_says_which_extra_it_is_in(name):
    row = BACKENDS.get(name)
    assert row.cannot_lower(None, "fp32") == f"{name} only trains; what it trained is served by others"
    assert row.cannot_train("fp32") is None
    assert row.cannot_train("bf16") == f"{name} computes in fp32, not in bf16"
    assert f"[{'jax' if name == 'jax' else 'keras'}" in row.install


def test_the_tables_of_backends_import_no_framework():
    code = (
        "import sys; from techniques.backends import BACKENDS\n"
        "for row in BACKENDS.rows().values(): row.obstacle()\n"
        "from techniques.backends.frameworks import flax_backend, keras_backend\n"
        "assert not {'keras', 'tensorflow', 'jax', 'flax'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class ChannelsLast:
    """A framework in PyTorch whose images have their channels last: only a layout can be wrong."""

    name = "PyTorch, channels last"
    xp = SimpleNamespace(
        **{name: getattr(torch, name) for name in ("add", "relu", "moveaxis", "reshape")},
        mean=lambda array, axis=None, keepdims=False: torch.mean(array, axis, keepdims),
        transpose=lambda array, axes: array.permute(*axes),
        take=lambda array, numbers, axis: array.index_select(axis, torch.as_tensor(numbers)),
        gelu=lambda array, approximate: nn.functional.gelu(array),
        dot_product_attention=lambda *each, scale, is_causal: nn.functional.scaled_dot_product_attention(
            *(one.transpose(1, 2) for one in each), scale=scale
        ).transpose(1, 2),
        pad=lambda array, around, constant_values: nn.functional.pad(
            array, [width for pair in reversed(around) for width in pair], value=constant_values
        ),
    )

    def __init__(self, model: nn.Module) -> None:
        self._tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.orders: list[object] = []

    def _own(self, held, layout=SAME):
        return None if held is None else torch.from_numpy(layout.given(self._tensors[held.name]))

    def weight(self, held):
        return self._own(held)

    def convolution(self, images, weight, bias, windows):
        kernel = self._own(weight, CONVOLUTION).permute(3, 2, 0, 1)
        found = nn.functional.conv2d(images.permute(0, 3, 1, 2), kernel, self._own(bias), *astuple(windows))
        return found.permute(0, 2, 3, 1)

    def linear(self, inputs, weight, bias, order):
        self.orders.append(order)
        found = inputs @ self._own(weight, linear(order))
        return found if bias is None else found + self._own(bias)

    def layer_norm(self, inputs, weight, bias, eps):
        return nn.functional.layer_norm(inputs, inputs.shape[-1:], self._own(weight), self._own(bias), eps)

    def batch_norm(self, inputs, held, momentum, eps):
        weight, bias, mean, variance = map(self._own, held)
        return (inputs - mean) / (variance + eps).sqrt() * weight + bias

    def max_pool(self, images, size, strides):
        return nn.functional.max_pool2d(images.permute(0, 3, 1, 2), size, strides).permute(0, 2, 3, 1)


MODELS = {
    "cnn": (lambda: SimpleCNN(8), 8),
    "residual": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 1),
            nn.MaxPool2d(3, 2, 1),
            ResidualBlock(8, 12, 2),
            nn.Flatten(),
            nn.Linear(12, 3),
        ),
        8,
    ),
    "transformer": (lambda: VisionTransformer(8, 4, 1, 2), 8),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_its_outputs_in_a_framework_with_another_layout(name):
    torch.manual_seed(0)
    make, size = MODELS[name]
    model = make().eval()
    batch = torch.randn(4, 3, size, size)
    framework = ChannelsLast(model)
    with torch.no_grad():
        given = Value(torch.from_numpy(host(batch)), last=True)
        found = Exported(model, (batch,), "the model").walk(framework, OPERATORS, given)
        assert torch.allclose(found, model(batch), atol=1e-5)


def test_flattened_images_keep_their_layout_and_the_next_layer_has_its_weights_in_their_order():
    model = SimpleCNN(8).eval()
    batch = torch.randn(2, 3, 8, 8)
    framework = ChannelsLast(model)
    with torch.no_grad():
        given = Value(torch.from_numpy(host(batch)), last=True)
        Exported(model, (batch,), "the model").walk(framework, OPERATORS, given)
    first, second = framework.orders
    # 32 channels of 2 × 2: in PyTorch a channel's four numbers are neighbours.
    assert list(first[:3]) == [0, 4, 8] and second is None


def test_weights_come_back_as_they_were():
    weight = torch.randn(5, 4, 3, 2)
    given = CONVOLUTION.given(weight)
    assert given.shape == (3, 2, 4, 5) and torch.equal(CONVOLUTION.taken(given), weight)
    layout = linear(np.array([2, 0, 1]))
    matrix = torch.randn(4, 3)
    given = layout.given(matrix)
    assert np.array_equal(given[0], matrix[:, 2]) and torch.equal(layout.taken(given), matrix)


def test_what_cannot_be_exported_or_gives_several_outputs_is_one_line():
    class Several(nn.Module):
        def forward(self, batch):
            return batch, batch

    class Deciding(nn.Module):
        def forward(self, batch):
            return batch if batch.sum() > 0 else -batch

    with pytest.raises(CannotApply, match="the model must give one tensor"):
        Exported(Several(), (torch.ones(2),), "the model")
    with pytest.raises(CannotApply, match=r"torch.export cannot take the model: \w+: "):
        Exported(Deciding(), (torch.ones(2),), "the model")
