"""Which inputs a model's answers rest on, and whether two models rank them alike.

Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365), by captum; of models that take token
numbers, those of the embedding that reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bench.errors import StageError
from bench.workloads.output_kinds import OutputKind
from techniques.outputs import parts

STEPS = 16
_AT_ONCE = 16


class ClassScores(torch.nn.Module):
    """A model that returns the scores (batch, classes) of its main output alone."""

    def __init__(self, model: torch.nn.Module, name: str, kind: OutputKind) -> None:
        super().__init__()
        self.model = model
        self.name = name
        self.kind = kind

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, classes); raises StageError where a sample has several answers, or none."""
        outputs = parts(self.model(inputs))[0][self.name]
        scores = self.kind.class_scores(outputs)
        if scores is not None and scores.dim() == 3 and scores.shape[1] == 1:
            scores = scores.squeeze(1)
        if scores is None or scores.dim() != 2:
            raise StageError("attributions are of one answer for each sample, and need scores of its classes")
        return scores


def attributions(model: ClassScores, inputs: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Return how much of each answer's score (samples,) rests on each part of the inputs (samples, ...).

    One number for each pixel, channels together, for each token, and for each feature. Raises StageError for
    a model of token numbers without an embedding.
    """
    found = [
        _of_batch(model, batch, chosen)
        for batch, chosen in zip(inputs.split(_AT_ONCE), answers.split(_AT_ONCE), strict=True)
    ]
    return torch.cat(found)


def _of_batch(model: ClassScores, inputs: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    from captum.attr import IntegratedGradients, LayerIntegratedGradients

    settings: dict[str, Any] = {"target": answers, "n_steps": STEPS, "internal_batch_size": STEPS * _AT_ONCE}
    if inputs.is_floating_point():
        found = IntegratedGradients(model).attribute(inputs, baselines=torch.zeros_like(inputs), **settings)
        # Channels of a pixel belong together.
        return (found.sum(dim=1) if found.dim() == 4 else found).detach().flatten(1)
    layer = _embedding(model, inputs)
    method = LayerIntegratedGradients(model, layer)
    found = method.attribute(inputs, baselines=torch.zeros_like(inputs), **settings)
    return found.sum(dim=-1).detach().flatten(1)


def _embedding(model: torch.nn.Module, inputs: torch.Tensor) -> torch.nn.Module:
    """Return the first embedding that is called with all of the inputs."""
    called: list[torch.nn.Module] = []

    def note(module: torch.nn.Module, given: tuple[Any, ...], _: Any) -> None:
        if given and isinstance(given[0], torch.Tensor) and torch.equal(given[0], inputs):
            called.append(module)

    embeddings = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    hooks = [module.register_forward_hook(note) for module in embeddings]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        raise StageError("no embedding of the model reads its token numbers")
    return called[0]


def rank_agreement(one: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    """Return Spearman's correlation of the sizes of two attributions (samples, parts) of each sample.

    Parts that neither rests on, as padding, are left out; NaN for a sample of fewer than two others.
    """
    from scipy.stats import rankdata

    found = np.full(len(one), np.nan)
    for number, (first, second) in enumerate(zip(one.abs().numpy(), other.abs().numpy(), strict=True)):
        used = (first != 0) | (second != 0)
        if used.sum() > 1:
            ranks = [rankdata(sizes[used]) for sizes in (first, second)]
            if all(np.ptp(rank) for rank in ranks):
                found[number] = np.corrcoef(*ranks)[0, 1]
    return found
