"""Which things are where in an image, by a detector without anchors."""

from __future__ import annotations

import contextlib
import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bench.workloads import scenes
from bench.workloads.splits import data_of
from bench.workloads.workload import Data, Workload

CLASSES = 10
STRIDE = 8
"""Pixels between the cells that look for objects."""

_USUAL_SIDE = 24.0
"""Pixels of a box's side where the network says 0."""
_RARE = 0.01
"""What an untrained network gives as the probability of an object: most cells have none."""
_MAX_DETECTIONS = 30
_SAME_OBJECT = 0.5


class CellDetector(nn.Module):
    """Each cell's classes and box (after FCOS, Tian et al. 2019); input (batch, 3, SIDE, SIDE).

    Output (batch, cells, CLASSES + 4): logits of the classes, each for itself, then the box as `boxes` reads
    it. `width` multiplies the channels of all layers but the last.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        first, second, third = (max(1, round(width * channels)) for channels in (24, 48, 96))
        self.features = nn.Sequential(
            *_convolution(3, first, stride=2),
            *_convolution(first, second, stride=2),
            *_convolution(second, second),
            *_convolution(second, third, stride=2),
            *_convolution(third, third),
            *_convolution(third, third),
        )
        self.head = nn.Conv2d(third, CLASSES + 4, kernel_size=1)
        nn.init.normal_(self.head.weight, std=0.01)
        bias = torch.zeros(CLASSES + 4)
        bias[:CLASSES] = math.log(_RARE / (1 - _RARE))
        self.head.bias = nn.Parameter(bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return each cell's logits and box (batch, cells, CLASSES + 4)."""
        cells: torch.Tensor = self.head(self.features(images)).flatten(2).transpose(1, 2)
        return cells


def _convolution(before: int, channels: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(before, channels, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def centres() -> torch.Tensor:
    """Return the cells' centres, shape (cells, 2): across and down, in pixels."""
    along = torch.arange(scenes.SIDE // STRIDE) * STRIDE + STRIDE / 2
    down, across = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([across.flatten(), down.flatten()], dim=1)


def boxes(outputs: torch.Tensor) -> torch.Tensor:
    """Return the boxes (batch, cells, 4) of outputs: left, top, right, bottom in pixels.

    The network says how many strides a box's centre is from the cell's, and the logarithms of its sides.
    """
    offsets, sides = outputs[..., CLASSES : CLASSES + 2], outputs[..., CLASSES + 2 :]
    middle = centres().to(outputs.device) + STRIDE * offsets
    half = _USUAL_SIDE / 2 * sides.clamp(max=3).exp()
    return torch.cat([middle - half, middle + half], dim=-1)


def assign(targets: torch.Tensor) -> torch.Tensor:
    """Return which object each cell is to find, shape (batch, cells), or -1, for objects (batch, objects, 5).

    It is the nearest whose centre is within a stride of the cell's: about four cells look for each object.
    """
    middle = (targets[..., 1:3] + targets[..., 3:5]) / 2
    distance = (centres().to(targets.device)[:, None] - middle[:, None]).abs().amax(dim=-1)
    distance = distance.masked_fill(targets[:, None, :, 0] < 0, torch.inf)
    nearest = distance.min(dim=-1)
    return nearest.indices.masked_fill(nearest.values > STRIDE, -1)


def overlap(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the overlap of boxes (..., 4), intersection over union, and its generalized form (...).

    The latter is negative for boxes apart (GIoU, Rezatofighi et al. 2019).
    """
    inside = _area(torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:]))
    around = _area(torch.minimum(one[..., :2], other[..., :2]), torch.maximum(one[..., 2:], other[..., 2:]))
    union = _area(one[..., :2], one[..., 2:]) + _area(other[..., :2], other[..., 2:]) - inside
    share = inside / union
    return share, share - (around - union) / around


def _area(lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    return (upper - lower).clamp(min=0).prod(dim=-1)


def focal_and_overlap(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the focal loss of the classes (Lin et al. 2017) and 1 - GIoU of the boxes, added.

    The first is a sum over all cells, the second over those that have an object; both are divided by the
    number of those. Outputs are (batch, cells, CLASSES + 4), targets (batch, objects, 5).
    """
    outputs = outputs.float()
    assigned = assign(targets)
    found = assigned >= 0
    objects = targets.gather(1, assigned.clamp(min=0)[..., None].expand(-1, -1, 5))
    right = nn.functional.one_hot(objects[..., 0].clamp(min=0).long(), CLASSES) * found[..., None]
    logits = outputs[..., :CLASSES]
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, right.float(), reduction="none")
    missing = 1 - torch.exp(-entropy)
    focal = (torch.where(right > 0, 0.25, 0.75) * missing**2 * entropy).sum()
    _, generalized = overlap(boxes(outputs), objects[..., 1:])
    apart = ((1 - generalized) * found).sum()
    return (focal + apart) / found.sum().clamp(min=1)


@dataclass(frozen=True)
class Detections:
    """What was found: boxes (images, most, 4), classes and scores (images, most); a score of 0 is none."""

    boxes: torch.Tensor
    classes: torch.Tensor
    scores: torch.Tensor


def detect(outputs: torch.Tensor) -> Detections:
    """Return the 30 likeliest detections of outputs, without a class's lesser ones on the same object.

    Outputs are (images, cells, CLASSES + 4). This is greedy non-maximum suppression at an overlap of 0.5.
    """
    likely = outputs[..., :CLASSES].sigmoid().flatten(1).topk(_MAX_DETECTIONS)
    cells = (likely.indices // CLASSES)[..., None].expand(-1, -1, 4)
    found = Detections(boxes(outputs).gather(1, cells), likely.indices % CLASSES, likely.values)
    share, _ = overlap(found.boxes[:, :, None], found.boxes[:, None])
    rivals = (share > _SAME_OBJECT) & (found.classes[:, :, None] == found.classes[:, None])
    for better in range(_MAX_DETECTIONS - 1):
        kept = found.scores[:, better : better + 1] > 0
        found.scores[:, better + 1 :][rivals[:, better, better + 1 :] & kept] = 0
    return found


def mean_average_precision(found: Detections, targets: torch.Tensor) -> float:
    """Return the mean over classes of average precision, at an overlap of 50 %, by pycocotools: 0 to 1.

    Targets are objects (images, objects, 5), as `scenes.compose` makes them.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = {
        "images": [{"id": number} for number in range(len(targets))],
        "categories": [{"id": number} for number in range(CLASSES)],
        "annotations": _annotations(targets),
    }
    images, places = (found.scores > 0).nonzero(as_tuple=True)
    corners = found.boxes[images, places]
    columns = (corners[:, :2], corners[:, 2:] - corners[:, :2])
    scores, classes = found.scores[images, places], found.classes[images, places]
    rows = torch.cat([images[:, None], *columns, scores[:, None], classes[:, None]], dim=1).double()
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows.numpy()), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [found.scores.shape[1]]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    return float(precision[precision > -1].mean())


def _annotations(targets: torch.Tensor) -> list[dict[str, object]]:
    """Return objects (images, objects, 5) in COCO's form, numbered from 1: there, 0 means no match."""
    annotations: list[dict[str, object]] = []
    for image, place in (targets[..., 0] >= 0).nonzero().tolist():
        label, left, top, right, bottom = targets[image, place].tolist()
        width, height = right - left, bottom - top
        annotations.append(
            {
                **{"id": len(annotations) + 1, "image_id": image, "category_id": int(label), "iscrowd": 0},
                **{"bbox": [left, top, width, height], "area": width * height},
            }
        )
    return annotations


def _quality(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    return {"map50": mean_average_precision(detect(outputs), targets)}


def mean_boxes(data: Data) -> dict[str, float]:
    """Return the quality of boxes of the training set's mean size in the middle of each image.

    One box of the most frequent class, or one of each class by their frequencies.
    """
    objects = data.train_targets[data.train_targets[..., 0] >= 0]
    half = (objects[:, 3:] - objects[:, 1:3]).mean(dim=0) / 2
    box = torch.cat([scenes.SIDE / 2 - half, scenes.SIDE / 2 + half])
    frequencies, classes = torch.bincount(objects[:, 0].long(), minlength=CLASSES).sort(descending=True)
    images = len(data.test_targets)
    return {
        name: mean_average_precision(
            Detections(
                box.expand(images, count, 4),
                classes[:count].expand(images, count),
                (frequencies / len(objects))[:count].expand(images, count),
            ),
            data.test_targets,
        )
        for name, count in (("mean box, most frequent class", 1), ("mean box, each class", CLASSES))
    }


def _data() -> Data:
    return data_of(scenes.load())


# The mean and deviation are those of the training scenes.
COMPOSED_SCENES_DETECTOR = Workload(
    data=_data,
    transform=lambda images: (images.to(torch.float32) - 108.2) / 60.5,
    model=CellDetector,
    loss=focal_and_overlap,
    quality=_quality,
    outputs="values",
    baselines=mean_boxes,
    student=CellDetector,
)
