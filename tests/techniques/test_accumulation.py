"""Parts of a batch add up to the batch's own gradients, whatever its loss averages over; or are refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.models.training import shuffled_batches
from techniques.backends.accumulation import Accumulation
from techniques.backends.training import TorchTrainingStep, TrainingOptions
from techniques.registry import CannotApply

SAMPLES, WORDS = 24, 7
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def tokens(length: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sequences and their targets, -100 after each one's end: of every third after the first token."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, WORDS, (SAMPLES, length), generator=generator)
    targets = (inputs + 1) % WORDS
    for number in range(SAMPLES):
        targets[number, 1 + (number * 3) % length :] = -100
    return inputs, targets


def tagger() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(WORDS, 8), nn.Linear(8, WORDS))


def of_tokens(**options: object) -> Loss:
    return lambda outputs, targets: functional.cross_entropy(
        outputs.flatten(0, 1), targets.flatten(), **options
    )


def ignoring_zero(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    kept = targets.clamp(min=0)
    return functional.cross_entropy(outputs.flatten(0, 1), kept.flatten(), ignore_index=0)


def masked_by_hand(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    mask = (targets != -100).float()
    each = functional.cross_entropy(outputs.transpose(1, 2), targets.clamp(min=0), reduction="none")
    return (each * mask).sum() / mask.sum().clamp(min=1)


def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs[..., 0], targets.float())


def probabilities(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy(outputs[..., 0].sigmoid(), (targets > 3).float())


DECOMPOSABLE: dict[str, Loss] = {
    "mean of counted tokens": of_tokens(),
    "sum of counted tokens": of_tokens(reduction="sum"),
    "padding is class 0": ignoring_zero,
    "weighted classes": of_tokens(weight=torch.arange(1.0, WORDS + 1)),
    "smoothed labels": of_tokens(label_smoothing=0.1),
    "a mask of one's own": masked_by_hand,
    "squared error": squared,
    "probabilities": probabilities,
    "half of a mean": lambda outputs, targets: squared(outputs, targets) / 2,
}


def contrastive(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    rows = functional.normalize(outputs.flatten(1), dim=1)
    return functional.cross_entropy(rows @ rows.T / 0.1, torch.arange(len(rows)))


REFUSED: dict[str, Loss] = {
    "samples against each other": contrastive,
    "root of a mean": lambda outputs, targets: squared(outputs, targets).sqrt(),
}


def gradients(loss: Loss, accumulate: int, *, study: bool = False) -> torch.Tensor:
    model, (inputs, targets) = tagger(), tokens()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learn = TorchTrainingStep(model, loss, optimizer, options=TrainingOptions(accumulate=accumulate))
    if study:
        order = islice(shuffled_batches(SAMPLES, 8, 0), 3)
        learn.warm_up(inputs[:8], targets[:8], (targets[numbers] for numbers in order))
    learn(inputs, targets)
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("study", [False, True], ids=["at once", "after an epoch's targets"])
@pytest.mark.parametrize("name", DECOMPOSABLE)
def test_gradients_of_parts_are_those_of_the_whole_batch(name: str, study: bool) -> None:
    whole = gradients(DECOMPOSABLE[name], 1)
    torch.testing.assert_close(
        gradients(DECOMPOSABLE[name], 4, study=study), whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max())
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_loss_that_does_not_come_apart_is_refused(name: str) -> None:
    with pytest.raises(CannotApply, match="not a weighted sum of the losses of its parts"):
        gradients(REFUSED[name], 4)


def test_a_part_of_padding_alone_adds_nothing() -> None:
    model, (inputs, targets) = tagger(), tokens()
    targets[:6] = -100
    found = []
    for parts in (1, 4):
        model.zero_grad()
        learn = TorchTrainingStep(
            model,
            of_tokens(),
            torch.optim.SGD(model.parameters(), lr=0.0),
            options=TrainingOptions(accumulate=parts),
        )
        loss = learn(inputs, targets)
        found.append([loss, *(parameter.grad.clone() for parameter in model.parameters())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "constant", "method"),
    [
        (squared, 0.25, "4 parts, whose loss is a mean"),
        (of_tokens(reduction="sum"), 1.0, "4 parts, whose loss is a sum"),
        (of_tokens(), None, "4 parts, each by its share of the batch's loss, found in every step"),
    ],
    ids=["mean", "sum", "counted"],
)
def test_an_epoch_of_targets_tells_whether_weights_are_always_the_same(
    loss: Loss, constant: float | None, method: str
) -> None:
    inputs, targets = tokens()
    known = Accumulation(loss, 4)
    known.study(tagger()(inputs[:2]), targets.split(8))
    assert (known.constant, known.method) == (constant, method)


def test_finding_weights_draws_no_random_numbers() -> None:
    def noisy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(outputs[..., 0], targets.float()) + torch.rand(())

    inputs, targets = tokens()
    torch.manual_seed(0)
    Accumulation(noisy, 4).weights(tagger()(inputs[:6]), targets)
    before = torch.rand(())
    torch.manual_seed(0)
    tagger()
    assert torch.equal(before, torch.rand(()))
