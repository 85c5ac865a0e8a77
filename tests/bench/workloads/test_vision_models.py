"""The networks for images: their size, shapes, students, and that other runtimes can run them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.workloads.image_classification import FASHION_MNIST_RESNET18, FASHION_MNIST_VIT
from bench.workloads.vision_models import ResNet18
from bench.workloads.workload import Workload

WORKLOADS = {"resnet18": FASHION_MNIST_RESNET18, "vit": FASHION_MNIST_VIT}


@pytest.fixture(params=WORKLOADS)
def workload(request: pytest.FixtureRequest) -> Workload:
    return WORKLOADS[request.param]


def test_resnet18_has_the_weights_of_the_article() -> None:
    # 11,689,512 for 1,000 classes (torchvision's count), whose last layer has 513 x 1,000 of them.
    count = sum(parameter.numel() for parameter in ResNet18(classes=1000).parameters())
    assert count == 11_689_512


def test_resnet18_halves_the_image_five_times() -> None:
    shapes = []
    model = ResNet18().eval()
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert shapes[::2] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]


def test_images_give_one_score_for_each_class(workload: Workload) -> None:
    images = workload.transform(torch.zeros(2, 28, 28, dtype=torch.uint8))
    assert workload.model()(images).shape == (2, 10)


def test_a_student_of_half_the_width_has_fewer_than_half_of_the_weights(workload: Workload) -> None:
    assert workload.student is not None
    teacher, student = (
        sum(parameter.numel() for parameter in model.parameters())
        for model in (workload.model(), workload.student(0.5))
    )
    assert 0.2 < student / teacher < 0.5


def test_pruning_and_int8_find_nearly_all_of_the_weights(workload: Workload) -> None:
    model = workload.model()
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    found = sum(layer.weight.numel() for layer in layers)
    assert found > 0.95 * sum(parameter.numel() for parameter in model.parameters())


def test_exported_model_answers_the_same_under_onnx_runtime(workload: Workload, tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(0)
    model, images = workload.model().eval(), torch.randn(2, 3, 28, 28)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (images,), path, dynamo=True, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        expected = model(images)
    assert (torch.from_numpy(answer) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_loss_falls_over_a_few_steps(workload: Workload) -> None:
    torch.manual_seed(0)
    images, labels = torch.randint(256, (16, 28, 28), dtype=torch.uint8), torch.arange(16) % 10
    assert workload.student is not None
    model = workload.student(0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = workload.loss(model(workload.transform(images)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
