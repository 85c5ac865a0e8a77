"""The next character of a text, by a decoder as GPT-2's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from bench import datasets
from bench.workloads.cached_decoding import CachedDecoding, Int8CachedDecoding
from bench.workloads.corruptions import of_characters
from bench.workloads.workload import Data, Samples, Workload

LENGTH = 128
"""Characters of a window, and the most that a prompt and its continuation may have together."""

SYMBOLS = 96
"""The line's end and ASCII's 95 characters that print: the same for any text, so nothing is learnt from the
test set."""

TRAIN_WINDOWS = 10_000
"""More than a training to the target sees twice; a teacher's outputs on all of them take 0.5 GB."""

TEST_WINDOWS = 200

_HEAD_WIDTH = 32


class CharacterGPT2(nn.Module):
    """GPT-2's decoder (Radford et al. 2019), `layers` of `heads` × 32 channels, by transformers.

    Input (batch, time) integers under `SYMBOLS`, output (batch, time, symbols): logits of the next one.
    """

    def __init__(self, heads: int = 6, layers: int = 4) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=SYMBOLS,
            n_positions=LENGTH,
            n_embd=_HEAD_WIDTH * heads,
            n_layer=layers,
            n_head=heads,
            activation_function="gelu_pytorch_tanh",  # GPT-2's own function, in one operator
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
            tie_word_embeddings=False,
        )
        self.decoder = GPT2LMHeadModel(config)
        _use_linear_layers(self.decoder)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, time, symbols)."""
        logits: torch.Tensor = self.decoder(tokens).logits
        return logits


def _use_linear_layers(model: nn.Module) -> None:
    """Put linear layers in the place of transformers' Conv1D, which is one with its weight transposed.

    No compression or format knows Conv1D: pruning and int8 would leave nearly all of the model out.
    """
    from transformers.pytorch_utils import Conv1D

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Conv1D):
                inputs, outputs = child.weight.shape
                linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
                linear.load_state_dict({"weight": child.weight.t(), "bias": child.bias})
                setattr(module, name, linear)


def encode(text: str) -> torch.Tensor:
    """Return ASCII text as numbers under `SYMBOLS`, shape (characters,), int64; 0 is the line's end.

    Raises UnicodeEncodeError for other text.
    """
    codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64)
    return torch.from_numpy(np.where(codes == ord("\n"), 0, codes - 31))


def decode(tokens: torch.Tensor) -> str:
    """Return the text that numbers of symbols (characters,) stand for."""
    return "".join("\n" if token == 0 else chr(token + 31) for token in tokens.tolist())


def windows(texts: Mapping[str, str], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and targets, both (count, LENGTH): evenly spaced windows, and the same one character on.

    No window spans two texts.
    """
    starts, tokens, offset = [], [], 0
    for text in texts.values():
        starts.append(offset + torch.arange(0, len(text) - LENGTH, LENGTH))
        tokens.append(encode(text))
        offset += len(text)
    every, line = torch.cat(starts), torch.cat(tokens)
    chosen = every[torch.linspace(0, len(every) - 1, count).long()]
    places = chosen[:, None] + torch.arange(LENGTH)
    return line[places], line[places + 1]


def _data() -> Data:
    texts = datasets.load("shakespeare")
    validation = Samples(*windows(texts.validation, TEST_WINDOWS))
    return Data(
        *windows(texts.train, TRAIN_WINDOWS), *windows(texts.test, TEST_WINDOWS), validation=validation
    )


def plays(data: Data) -> dict[str, list[str]]:
    """Return the play that each test window is from."""
    texts = datasets.load("shakespeare").test
    every = [name for name, text in texts.items() for _ in range(0, len(text) - LENGTH, LENGTH)]
    chosen = torch.linspace(0, len(every) - 1, TEST_WINDOWS).long()
    return {"play": [every[place] for place in chosen[: len(data.test_inputs)].tolist()]}


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy, in nats a character, of logits (batch, time, symbols).

    Targets are (batch, time).
    """
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def likelihood_and_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return likelihood, nats a character and the accuracy of the likeliest one.

    Outputs are logits (samples, time, symbols), targets (samples, time). Likelihood is exp(-nats), the
    geometric mean of the probabilities.
    """
    nats = cross_entropy(outputs.double(), targets).item()
    accuracy = (outputs.argmax(dim=-1) == targets).double().mean().item()
    return {"likelihood": math.exp(-nats), "nats": nats, "accuracy": accuracy}


def character_frequencies(data: Data) -> dict[str, float]:
    """Return the likelihood by how often each character, and each after another, occurs in the training set.

    Each count is one more than it was, so that nothing is impossible.
    """
    pairs = torch.ones(SYMBOLS, SYMBOLS, dtype=torch.float64)
    ones = torch.ones(data.train_inputs.numel(), dtype=torch.float64)
    pairs.index_put_((data.train_inputs.flatten(), data.train_targets.flatten()), ones, accumulate=True)
    alone, after = pairs.sum(dim=0), pairs[data.test_inputs]
    return {
        name: likelihood_and_accuracy(counts.log().expand_as(after), data.test_targets)["likelihood"]
        for name, counts in (("character frequencies", alone), ("frequencies after a character", after))
    }


SHAKESPEARE_GPT2 = Workload(
    data=_data,
    transform=lambda tokens: tokens,
    model=CharacterGPT2,
    loss=cross_entropy,
    quality=likelihood_and_accuracy,
    outputs="scores:2",
    baselines=character_frequencies,
    student=lambda width: CharacterGPT2(heads=max(1, round(6 * width))),
    shallow_student=lambda depth: CharacterGPT2(layers=max(1, round(4 * depth))),
    generator=CachedDecoding,
    columns=plays,
    corruptions=of_characters(1, SYMBOLS - 1),
    caches={"int8": Int8CachedDecoding},
)
