"""Whether a tumour is malignant, from measures of its cells.

Recall is what counts in a diagnosis, but calling every case malignant has a recall of 1: the target is set on
the area under the receiver operating characteristic, which no constant answer raises above 0.5 and no
threshold moves. Recall and accuracy, beside it, are those of the likelier class.
"""

from __future__ import annotations

import torch
from torch import nn

from bench.workloads.classification import class_recalls
from bench.workloads.columns import thirds
from bench.workloads.tabular import Perceptron, standardized_table
from bench.workloads.workload import Data, Workload

BENIGN, MALIGNANT = 0, 1


def area_under_curve(scores: torch.Tensor, positive: torch.Tensor) -> float:
    """Return the share of pairs of a positive and a negative case, (cases,) each, in which the positive one
    has the higher score, ties counted half: the area under the curve (Hanley & McNeil 1982).

    NaN where there are no such pairs.
    """
    pairs = scores[positive].unsqueeze(1) - scores[~positive]
    return ((pairs > 0).double() + (pairs == 0).double() / 2).mean().item()


def diagnosis(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return AUC, recall of the malignant cases, accuracy; outputs (cases, 2), targets (cases,)."""
    malignant = outputs[:, MALIGNANT] - outputs[:, BENIGN]
    return {
        "auc": area_under_curve(malignant, targets == MALIGNANT),
        "recall": class_recalls(outputs.argmax(dim=1), targets, 2)[MALIGNANT].item(),
        "accuracy": (outputs.argmax(dim=1) == targets).double().mean().item(),
    }


def without_training(data: Data) -> dict[str, float]:
    """Return the AUC of one answer to all, and of the one feature that parts the training set best."""
    sick = data.train_targets == MALIGNANT
    areas = torch.tensor([area_under_curve(feature, sick) for feature in data.train_inputs.T])
    best = (areas - 0.5).abs().argmax()
    feature = data.test_inputs[:, best] * (areas[best] - 0.5).sign()
    sick = data.test_targets == MALIGNANT
    return {
        "all benign": area_under_curve(torch.zeros(len(sick)), sick),
        "best single feature": area_under_curve(feature, sick),
    }


BREAST_CANCER_MLP = Workload(
    data=lambda: standardized_table("breast-cancer"),
    transform=lambda rows: rows,
    model=lambda: Perceptron(features=30, outputs=2),
    loss=nn.functional.cross_entropy,
    quality=diagnosis,
    baselines=without_training,
    student=lambda width: Perceptron(features=30, outputs=2, width=width),
    classes=("benign", "malignant"),
    columns=lambda data: {"mean radius": thirds(data.test_inputs[:, 0], ("small", "middle", "large"))},
)
