"""Numbers from small tables, by mean squared error."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from bench.workloads.columns import thirds
from bench.workloads.tabular import Perceptron, standardized, standardized_table
from bench.workloads.workload import Data, Workload


def _diabetes() -> Data:
    """Return features (patients, 10) and progression (patients, 1), both standardized by the training set."""
    data = standardized_table("diabetes")
    train, validation = data.train_targets.unsqueeze(1), data.validation
    assert validation is not None
    return replace(
        data,
        train_targets=standardized(train, train),
        validation=replace(validation, targets=standardized(validation.targets.unsqueeze(1), train)),
        test_targets=standardized(data.test_targets.unsqueeze(1), train),
    )


def r2_and_mse(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return R² and the mean squared error of outputs against targets, both (samples, 1).

    R² is 1 less the error's share of the variance of these targets: below 0 where their mean does better.
    """
    error = (outputs.double() - targets.double()).square().mean()
    return {"r2": (1 - error / targets.double().var(correction=0)).item(), "mse": error.item()}


def without_training(data: Data) -> dict[str, float]:
    """Return the R² of the training set's mean, and of the linear function that fits it best."""
    design, test_design = (
        torch.nn.functional.pad(inputs, (0, 1), value=1.0) for inputs in (data.train_inputs, data.test_inputs)
    )
    linear = torch.linalg.lstsq(design, data.train_targets).solution
    mean = data.train_targets.mean(0).expand_as(data.test_targets)
    return {
        "training mean": r2_and_mse(mean, data.test_targets)["r2"],
        "least squares": r2_and_mse(test_design @ linear, data.test_targets)["r2"],
    }


def age_and_sex(data: Data) -> dict[str, list[str]]:
    """Return the age of each test patient, in thirds, and the sex, coded 1 and 2 as in the file."""
    age, sex = data.test_inputs[:, 0], data.test_inputs[:, 1]
    return {
        "age": thirds(age, ("younger", "middle", "older")),
        "sex": ["2" if value > 0 else "1" for value in sex.tolist()],
    }


# No students: their teacher's outputs are softened over classes, and here there are none.
DIABETES_MLP = Workload(
    data=_diabetes,
    transform=lambda rows: rows,
    model=lambda: Perceptron(features=10, outputs=1),
    loss=nn.functional.mse_loss,
    quality=r2_and_mse,
    outputs="values",
    baselines=without_training,
    columns=age_and_sex,
)
