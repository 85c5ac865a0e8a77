"""What a workload is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from bench.instruments.generation import Generator


@dataclass(frozen=True)
class Data:
    """Inputs as they are kept, shape (samples, ...), and their targets, shape (samples, ...).

    Numbers of tokens stay whole numbers: no backend casts them to its precision. `notes` has a line for each
    thing that a reader left out or that is odd about the samples.
    """

    train_inputs: torch.Tensor
    train_targets: torch.Tensor
    test_inputs: torch.Tensor
    test_targets: torch.Tensor
    notes: tuple[str, ...] = field(default=(), kw_only=True)


Answers = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Workload:
    """The code of a workload: data, model, loss and quality.

    `transform` turns a batch of kept inputs into what the model takes; it belongs to the training clock.
    `quality` maps outputs and targets of the whole test set to named metrics, the first better when higher;
    None where the model is served as it is: then quality is how far it keeps to its own outputs.
    `outputs` says what the model's outputs are, the first of several: `scores:1` (of classes, on axis 1),
    `probability`, `logit`, `labels` or `values`; empty, it is read from the loss and the targets. `answers`
    reads what the model answers, one answer or several for each sample, where outputs are none of these. What
    share of the answers stays is measured.
    `student` builds the model with that many times the channels, where it comes in several widths.
    `classes` names the classes of a classification, in the order of its outputs: their recalls are measured
    one by one. `baselines` gives the quality metric of answers that need no training, by their name.
    `finish` measures once, on the trained model, what is too dear for each evaluation: metrics by name.
    `generator` wraps a model of this workload, on its device, to continue texts.
    `fixed_batch` is the one batch size that the model takes, None where it takes any.
    """

    data: Callable[[], Data]
    transform: Callable[[torch.Tensor], torch.Tensor]
    model: Callable[[], torch.nn.Module]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    quality: Callable[[torch.Tensor, torch.Tensor], Mapping[str, float]] | None
    answers: Answers | None = None
    outputs: str = ""
    student: Callable[[float], torch.nn.Module] | None = None
    classes: tuple[str, ...] = ()
    baselines: Callable[[Data], Mapping[str, float]] = lambda data: {}
    finish: Callable[[torch.nn.Module, Data], Mapping[str, float]] | None = None
    generator: Callable[[torch.nn.Module], Generator] | None = None
    fixed_batch: int | None = None
