"""Small models of three families and several sizes, as real modules and as what a projection is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.projection.fake import checkpointed, repeated_blocks
from bench.projection.subject import Subject

CLASSES = 10
VOCABULARY = 512
IMAGE = 32


@dataclass(frozen=True)
class Size:
    """Blocks and channels of a model."""

    depth: int
    width: int


class Residual(nn.Module):
    """Two convolutions with a shortcut (He et al. 2016); tensors are (batch, channels, height, width)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.norms[0](self.first(images)))
        return torch.relu(images + self.norms[1](self.second(hidden)))


class ConvolutionalNet(nn.Module):
    """A stem, residual blocks, and a linear classifier of their mean."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, size.width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(size.width) for _ in range(size.depth)))
        self.head = nn.Linear(size.width, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.blocks(self.stem(images)).mean(dim=(2, 3)))
        return scores


class Logits(nn.Module):
    """A model of transformers that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(tokens).logits
        return logits


def _decoder(size: Size) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes: dict[str, Any] = {"n_layer": size.depth, "n_embd": size.width, "n_head": size.width // 32}
    off: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "use_cache": False}
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=128, **sizes, **off)
    return Logits(GPT2LMHeadModel(config))


def _encoder(size: Size) -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.width // 32,
        intermediate_size=4 * size.width,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return Logits(BertForMaskedLM(config))


def _texts(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(samples, 128, dtype=torch.long), torch.zeros(samples, 128, dtype=torch.long)


def _images(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(samples, 3, IMAGE, IMAGE), torch.zeros(samples, dtype=torch.long)


def _loss_of_texts(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


@dataclass(frozen=True)
class Family:
    """Models of one kind: how one is built, its batches, and its loss."""

    name: str
    model: Callable[[Size], nn.Module]
    batch: Callable[[int], tuple[torch.Tensor, torch.Tensor]]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def subject(self, size: Size) -> Subject:
        """Return what a projection of one is made of."""

        def loss(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
            assert targets is not None
            return self.loss(model(inputs), targets)

        return Subject(
            title=f"{self.name} {size.depth} x {size.width}",
            build=lambda: self.model(size),
            batch=self.batch,
            forward=lambda model, inputs: model(inputs),
            loss=loss,
        )

    def step(self, model: nn.Module, batch: int, optimizer: torch.optim.Optimizer, again: bool) -> Any:
        """Return a call that trains the model by a step; blocks run again in the backward pass if asked."""
        inputs, targets = self.batch(batch)
        blocks = repeated_blocks(model) if again else []

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with checkpointed(blocks):
                self.loss(model(inputs), targets).backward()
            optimizer.step()

        return step, (inputs, targets)


FAMILIES = {
    family.name: family
    for family in (
        Family("decoder", _decoder, _texts, _loss_of_texts),
        Family("encoder", _encoder, _texts, _loss_of_texts),
        Family("CNN", ConvolutionalNet, _images, nn.functional.cross_entropy),
    )
}
