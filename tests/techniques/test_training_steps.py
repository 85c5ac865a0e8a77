"""How a step of training is taken: accumulated, checkpointed, laid out, in lower precision, compiled."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.workloads.image_classification import SimpleCNN
from bench.workloads.vision_models import ResNet18, VisionTransformer
from techniques.backends import BACKENDS
from techniques.backends.training import TrainingStep, checkpoint_blocks
from techniques.optimizers import OPTIMIZERS
from techniques.registry import CannotApply

IMAGES = torch.randn(8, 3, 28, 28, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 10


def stepped(backend: str, precision: str = "fp32", steps: int = 3, optimizer: str = "sgd") -> TrainingStep:
    torch.manual_seed(0)
    learn = (
        BACKENDS.parse(backend)
        .create()
        .compile_step(SimpleCNN(28), nn.functional.cross_entropy, OPTIMIZERS.parse(optimizer), precision)
    )
    learn.warm_up(IMAGES, LABELS)
    for _ in range(steps):
        learn(IMAGES, LABELS)
    learn.write_back()
    return learn


def weights(learn: TrainingStep) -> torch.Tensor:
    return torch.cat([parameter.detach().float().flatten().cpu() for parameter in learn.model.parameters()])


def tensors_kept(model: nn.Module) -> int:
    """Return the bytes that the forward pass keeps for the backward one."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(IMAGES)
    return sum(kept.values())


@pytest.mark.parametrize(
    "setting", ["accumulate=4", "checkpoint=true", "channels_last=true", "accumulate=2,checkpoint=true"]
)
def test_a_setting_changes_how_a_step_is_taken_and_not_what_it_learns(setting: str) -> None:
    plain, set_ = stepped("cpu-eager"), stepped(f"cpu-eager:{setting}")
    assert torch.allclose(weights(plain), weights(set_), atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 2e-3), ("fp16", 2e-3)])
def test_lower_precision_trains_fp32_weights_close_to_the_same_place(
    precision: str, tolerance: float
) -> None:
    plain, low = stepped("cpu-eager"), stepped("cpu-eager", precision)
    assert all(parameter.dtype == torch.float32 for parameter in low.model.parameters())
    difference = (weights(plain) - weights(low)).abs().mean()
    assert 0 < difference < tolerance


def test_gradients_of_fp16_are_scaled_and_a_step_that_overflows_is_left_out() -> None:
    learn = stepped("cpu-eager", "fp16", steps=1)
    before, scale = weights(learn), learn.scaler.get_scale()
    learn(IMAGES * 1e6, LABELS)
    assert torch.equal(weights(learn), before)
    assert learn.scaler.get_scale() < scale


def test_warming_up_leaves_the_weights() -> None:
    torch.manual_seed(0)
    untouched = SimpleCNN(28)
    assert torch.equal(weights(stepped("cpu-eager", steps=0)), weights_of(untouched))


def weights_of(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_batch_that_has_no_equal_parts_is_refused() -> None:
    with pytest.raises(CannotApply, match="a batch of 8 cannot be split into 3 equal parts"):
        stepped("cpu-eager:accumulate=3", steps=1)


@pytest.mark.parametrize(
    "make", [ResNet18, lambda: VisionTransformer(28, 4, layers=4, heads=3)], ids=["resnet18", "vit"]
)
def test_checkpoints_keep_less_for_the_backward_pass_and_give_the_same_gradients(make) -> None:
    torch.manual_seed(0)
    model = make().train()
    model(IMAGES).square().mean().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    kept = tensors_kept(model)
    model.zero_grad()
    checkpoint_blocks(model)
    assert tensors_kept(model) < 0.7 * kept
    model.zero_grad()
    model(IMAGES).square().mean().backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-5)


def test_a_model_without_blocks_cannot_be_checkpointed() -> None:
    with pytest.raises(CannotApply, match="requires a model with blocks"):
        checkpoint_blocks(nn.Linear(3, 3))
