"""The workload of object detection: assignment, loss, mean average precision, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.workloads import object_detection, scenes
from bench.workloads.object_detection import CLASSES, COMPOSED_SCENES_DETECTOR, STRIDE, CellDetector
from bench.workloads.workload import Data
from tests.support.learning import losses_of

pytest.importorskip("pycocotools")

OBJECTS = torch.tensor(
    [
        [[3.0, 10.0, 20.0, 34.0, 60.0], [7.0, 50.0, 50.0, 90.0, 80.0]],
        [[3.0, 40.0, 40.0, 64.0, 64.0], [-1.0, -1.0, -1.0, -1.0, -1.0]],
    ]
)


def right_outputs(objects: torch.Tensor) -> torch.Tensor:
    """The outputs of a network that knows: each cell that looks for an object finds it."""
    assigned = object_detection.assign(objects)
    cells = objects.gather(1, assigned.clamp(min=0)[..., None].expand(-1, -1, 5))
    logits = torch.full((*assigned.shape, CLASSES), -20.0)
    sure = torch.where(assigned >= 0, 20.0, -20.0)
    logits.scatter_(2, cells[..., :1].clamp(min=0).long(), sure[..., None])
    middle = (cells[..., 1:3] + cells[..., 3:]) / 2
    offsets = (middle - object_detection.centres()) / STRIDE
    sides = ((cells[..., 3:] - cells[..., 1:3]) / object_detection._USUAL_SIDE).clamp(min=0.1).log()
    return torch.cat([logits, offsets, sides], dim=-1)


@pytest.fixture(scope="module")
def data() -> Data:
    try:
        for name in ("fashion-mnist", "photographs"):
            datasets.fetch(name)
    except DataError as error:
        pytest.skip(f"needs its data sets: {error}")
    return COMPOSED_SCENES_DETECTOR.data()


def test_a_few_cells_look_for_each_object_and_none_for_what_is_not_there() -> None:
    assigned = object_detection.assign(OBJECTS)
    assert assigned.shape == (2, (scenes.SIDE // STRIDE) ** 2)
    for image, number in ((0, 0), (0, 1), (1, 0)):
        assert 1 <= (assigned[image] == number).sum() <= 9
    assert not (assigned[1] == 1).any()


def test_boxes_come_back_from_right_outputs() -> None:
    outputs = right_outputs(OBJECTS)
    assigned = object_detection.assign(OBJECTS)
    found = object_detection.boxes(outputs)
    for image, number in ((0, 0), (0, 1), (1, 0)):
        box = OBJECTS[image, number, 1:]
        assert torch.allclose(found[image][assigned[image] == number], box, atol=1e-3)


def test_loss_is_none_for_right_outputs_and_grows_with_a_wrong_box_or_class() -> None:
    outputs = right_outputs(OBJECTS)
    loss = object_detection.focal_and_overlap
    moved = outputs.clone()
    moved[..., CLASSES] += 1
    other_class = outputs.clone()
    other_class[..., :CLASSES] = outputs[..., :CLASSES].roll(1, dims=-1)
    assert loss(outputs, OBJECTS).item() == pytest.approx(0, abs=1e-3)
    assert loss(moved, OBJECTS).item() > 0.2 and loss(other_class, OBJECTS).item() > 1


def test_overlap_of_known_boxes() -> None:
    one = torch.tensor([0.0, 0.0, 2.0, 2.0])
    others = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [4.0, 0.0, 6.0, 2.0]])
    share, generalized = object_detection.overlap(one, others)
    assert share.tolist() == pytest.approx([1, 1 / 3, 0])
    assert generalized.tolist() == pytest.approx([1, 1 / 3, -1 / 3])


def test_precision_is_one_for_right_outputs_and_less_for_what_is_wrong() -> None:
    precision = COMPOSED_SCENES_DETECTOR.quality
    assert precision is not None
    outputs = right_outputs(OBJECTS)
    assert precision(outputs, OBJECTS)["map50"] == pytest.approx(1)
    # One of the two classes is nowhere found, the other everywhere.
    missed = outputs.clone()
    missed[..., 7] = -20
    assert precision(missed, OBJECTS)["map50"] == pytest.approx(0.5, abs=0.01)
    small = outputs.clone()
    small[..., CLASSES + 2 :] -= 0.5
    assert precision(small, OBJECTS)["map50"] < 0.01


def test_precision_agrees_with_a_list_of_hits_by_hand() -> None:
    box = torch.tensor([10.0, 10.0, 50.0, 50.0])
    objects = torch.tensor([[[2.0, *box]], [[2.0, *box]]])
    # By falling score: a hit, a miss far away, a hit: 51 recalls at precision 1, 50 at 2/3.
    found = object_detection.Detections(
        boxes=torch.stack([torch.stack([box, box + 40]), torch.stack([box, box])]),
        classes=torch.full((2, 2), 2),
        scores=torch.tensor([[0.9, 0.8], [0.7, 0.0]]),
    )
    precision = object_detection.mean_average_precision(found, objects)
    assert precision == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-6)


def test_one_detection_is_left_of_several_on_the_same_object() -> None:
    found = object_detection.detect(right_outputs(OBJECTS))
    kept = found.scores > 0.5
    assert kept.sum(dim=1).tolist() == [2, 1]
    assert sorted(found.classes[0][kept[0]].tolist()) == [3, 7]


def test_items_and_photographs_of_the_test_are_none_of_the_training(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = []

    def note(items: np.ndarray, labels: np.ndarray, pictures: tuple[np.ndarray, ...], *_: int):
        parts.append((len(items), len(labels), {picture.tobytes() for picture in pictures}))
        return np.empty(0), np.empty(0)

    monkeypatch.setattr(scenes, "compose", note)
    made = scenes._make()
    pictures = [own for _, _, own in parts]
    assert [items for items, _, _ in parts] == [54_000, 10_000, 6_000] and set(made) == {
        f"{part}_{kind}" for part in ("train", "validation", "test") for kind in ("inputs", "targets")
    }
    assert all(pictures) and len(set.union(*pictures)) == sum(map(len, pictures))


def test_scenes_are_as_many_as_said_and_all_classes_occur(data: Data) -> None:
    assert data.train_inputs.shape == (scenes.TRAIN_SCENES, 3, scenes.SIDE, scenes.SIDE)
    assert data.test_inputs.shape[0] == scenes.TEST_SCENES and data.train_inputs.dtype == torch.uint8
    labels = data.test_targets[..., 0]
    assert set(labels[labels >= 0].tolist()) == set(range(CLASSES))


def test_boxes_without_training_find_next_to_nothing(data: Data) -> None:
    found = COMPOSED_SCENES_DETECTOR.baselines(data)
    assert found and all(0 <= value < 0.1 for value in found.values())


def test_loss_falls_over_a_few_steps(data: Data) -> None:
    torch.manual_seed(0)
    few = data.train_inputs[:8], data.train_targets[:8]
    losses = losses_of(COMPOSED_SCENES_DETECTOR, CellDetector(width=0.5), *few, steps=15, rate=3e-3)
    assert losses[-1] < 0.8 * losses[0]


def test_exported_detector_answers_the_same_under_onnx_runtime(tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(0)
    model, images = CellDetector().eval(), torch.randn(2, 3, scenes.SIDE, scenes.SIDE)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (images,), path, dynamo=True, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        expected = model(images)
    assert torch.allclose(torch.from_numpy(answer), expected, atol=1e-4)
