"""A Hugging Face model, by directory or id, served as given, with random tokens or pixels."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from bench.errors import StageError
from bench.workloads.given import SAMPLES, drawn, workload
from bench.workloads.pretrained import (
    check_input,
    check_length,
    image_sizes,
    load_weights,
    named_class,
    read_config,
)
from bench.workloads.workload import Workload

_KINDS = {
    **dict.fromkeys(
        (
            *("ForSequenceClassification", "ForImageClassification", "ForAudioClassification"),
            *("ForMultipleChoice", "ForNextSentencePrediction", "ForVideoClassification"),
            *("ForSemanticSegmentation", "ForQuestionAnswering"),
        ),
        "scores:1",
    ),
    **dict.fromkeys(
        ("ForMaskedLM", "ForCausalLM", "LMHeadModel", "ForTokenClassification", "ForCTC", "ForPreTraining"),
        "scores:2",
    ),
}
"""What the first output of a model is, by how its class's name ends."""


class OneInput(torch.nn.Module):
    """A model of transformers that takes one tensor (batch, ...); it gives its one output, or all by name.

    Padding tokens, if the model has one, are masked out as its tokenizer would.
    """

    def __init__(self, model: torch.nn.Module, padding: int | None) -> None:
        super().__init__()
        self.model = model
        self.padding = padding

    def forward(self, batch: torch.Tensor) -> Any:
        """Return the model's output for tokens (batch, length) or pixels (batch, channels, height, width).

        Several outputs are returned by name.
        """
        if batch.is_floating_point():
            found = self.model(pixel_values=batch)
        elif self.padding is None:
            found = self.model(input_ids=batch)
        else:
            found = self.model(input_ids=batch, attention_mask=(batch != self.padding).long())
        outputs = {name: value for name, value in found.items() if value is not None}
        (first, *others) = outputs.values()
        return outputs if others else first


def load(model: str, length: int, outputs: str = "") -> Workload:
    """Return the workload of a model directory, or of an id where the hub or its cache can be reached.

    Inputs: `length` random tokens of the vocabulary, or random pixels at the size of the configuration.
    `outputs` says what its outputs are, where the class that it names does not. Raises StageError where the
    model takes other inputs or shorter texts, and as it is built where its files lack weights.
    """
    config = read_config(model)
    found = outputs or kind_of(config)
    return workload(partial(_model, model, length), _inputs(model, config, length), found)


def kind_of(config: Any) -> str:
    """Return what the outputs are of the class that a configuration names, empty where that is unknown.

    Without a head, or with one of one number, they are values (`problem_type` of transformers).
    """
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    name = named_class(config).__name__
    labelled = "Classification" in name
    if name in ("AutoModel", MODEL_MAPPING_NAMES.get(config.model_type)):
        return "values"
    if labelled and getattr(config, "problem_type", None) == "multi_label_classification":
        return "logit"
    if labelled and getattr(config, "num_labels", 2) == 1:
        return "values"
    return next((kind for end, kind in _KINDS.items() if name.endswith(end)), "")


def _model(name: str, length: int) -> torch.nn.Module:
    """Return the model as its configuration names it, with a head where it has one, in evaluation mode."""
    config = read_config(name)
    loaded = load_weights(name, config)
    check_length(name, config, length, loaded)
    loaded.config.use_cache = False
    return OneInput(loaded, getattr(config, "pad_token_id", None))


def _inputs(model: str, config: Any, length: int) -> torch.Tensor:
    check_input(model, config)
    vocabulary = getattr(config, "vocab_size", None)
    if vocabulary is None:
        return drawn(getattr(config, "num_channels", 3), *image_sizes(config))
    check_length(model, config, length)
    if not isinstance(vocabulary, int) or not 2 <= vocabulary < 2**63:
        raise StageError(
            f"huggingface:{model}: vocab_size must be an integer of at least 2, got {vocabulary}"
        )
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, vocabulary, (SAMPLES, length), generator=generator)
