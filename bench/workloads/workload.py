"""The parts of a workload."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from techniques.parallel import TensorPlan

if TYPE_CHECKING:
    from bench.instruments.generation import Generator


@dataclass(frozen=True)
class Samples:
    """Stored inputs (samples, ...) and their targets (samples, ...)."""

    inputs: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Data:
    """Stored inputs, shape (samples, ...), and their targets, shape (samples, ...).

    Training reads its quality from `validation`, by which it ends and its settings are chosen; the test data
    are read once, at the end. Without `validation`, some of the training data become it (`splits`): whole
    `groups`, a number for each training sample, where samples of one group are much alike.

    Token numbers stay integers: no backend casts them to its precision. `notes` has a line for each kind of
    sample that was left out, and for each oddity of the data.
    """

    train_inputs: torch.Tensor
    train_targets: torch.Tensor
    test_inputs: torch.Tensor
    test_targets: torch.Tensor
    validation: Samples | None = field(default=None, kw_only=True)
    groups: torch.Tensor | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)


Answers = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Workload:
    """The code of a workload: data, model, loss and quality.

    `transform` turns a batch of stored inputs into model inputs; its time counts as training time. `quality`
    maps outputs and targets of the whole validation or test set to named metrics, the first better when
    higher; None where the model is served as given: then quality is the agreement with its own eager outputs.
    `outputs` is the kind of the model's outputs, or of the first of several: `scores:1` (classes on axis 1),
    `probability`, `logit`, `labels` or `values`; where empty, it is inferred from the loss and the targets.
    `answers` computes the model's answers, one or several for each sample, where outputs are none of these.
    The share of answers that stay the same is measured. `student` builds the model with that many times the
    channels, where the model has several widths, and `shallow_student` the one with that share of its layers,
    where it has several depths. `classes` names the classes of a classification, in the
    order of its outputs: the recall of each is measured. `baselines` returns the quality metric of answers
    that need no training, by their name. `finish` measures, once on the trained model, what is too slow for
    each evaluation: metrics by name. `generator` wraps a model of this workload, on its device, to continue
    texts; `caches` are such wrappers with the cache in further formats, by name. `fixed_batch` is the one
    batch size that the model takes, None where it takes any. `has_targets` says of a model that is served as
    given that its test targets are known: then accuracy is measured.
    `preprocessing` says in words what `transform` does, for the card of an exported model.
    `columns` returns further columns of the test data, by name: the group of each test sample, as whom a text
    is by; quality is compared in each group. `corruptions` yields the test inputs corrupted in one way after
    the other, each with its name: noise, blur, typos. `tensor_plan` says how the model's layers are split
    over several devices, for tensor parallelism.
    """

    data: Callable[[], Data]
    transform: Callable[[torch.Tensor], torch.Tensor]
    model: Callable[[], torch.nn.Module]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    quality: Callable[[torch.Tensor, torch.Tensor], Mapping[str, float]] | None
    answers: Answers | None = None
    outputs: str = ""
    student: Callable[[float], torch.nn.Module] | None = None
    shallow_student: Callable[[float], torch.nn.Module] | None = None
    classes: tuple[str, ...] = ()
    baselines: Callable[[Data], Mapping[str, float]] = lambda data: {}
    finish: Callable[[torch.nn.Module, Data], Mapping[str, float]] | None = None
    generator: Callable[[torch.nn.Module], Generator] | None = None
    caches: Mapping[str, Callable[[torch.nn.Module], Generator]] = field(default_factory=dict, hash=False)
    fixed_batch: int | None = None
    has_targets: bool = False
    preprocessing: str = ""
    columns: Callable[[Data], Mapping[str, Sequence[object]]] = lambda data: {}
    corruptions: Callable[[Data], Iterator[tuple[str, torch.Tensor]]] | None = None
    tensor_plan: TensorPlan | None = None
