"""A model by its Hugging Face config.json, without weights: Llama, GPT-2, BERT, ViT, mixtures of experts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from bench.errors import BenchError, StageError
from bench.instruments.replacing import replaced
from bench.projection.subject import Batch, Experts, Subject, mean_output
from bench.workloads.pretrained import check_input, image_sizes, named_class, read_config

MAX_DEFAULT_SEQUENCE = 2048

_CONTINUE_TEXTS = ("ForCausalLM", "LMHeadModel")
_LABEL_EACH_TOKEN = (*_CONTINUE_TEXTS, "ForMaskedLM", "ForTokenClassification")
_LABEL_EACH_SAMPLE = ("ForSequenceClassification", "ForImageClassification")
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "top_k_experts")
_TOTAL = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")


def of_config(path: Path, sequence: int | None) -> Subject:
    """Return the model that a config.json, or the folder that has one, describes.

    Texts have `sequence` tokens. Without it they are as long as the model takes, at most
    `MAX_DEFAULT_SEQUENCE`. Raises BenchError where the file is no configuration, and where the model takes
    other inputs or shorter texts.
    """
    config, kind = _read(path)
    is_text = getattr(kind, "main_input_name", "input_ids") == "input_ids"
    length = _length(path, config, sequence) if is_text else None
    labels = _labels(kind)

    def build() -> nn.Module:
        with torch.device("meta"), _quiet():
            model = _made(kind, config)
        model.config.use_cache = False
        return cast(nn.Module, model)

    def forward(model: nn.Module, inputs: torch.Tensor, **more: Any) -> Any:
        return model(inputs, **more)

    def loss(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        if targets is None:
            return mean_output(forward(model, inputs))
        return cast(torch.Tensor, forward(model, inputs, labels=targets).loss)

    return Subject(
        title=f"{kind.__name__} of {path}",
        build=build,
        batch=_batches(config, length, labels),
        forward=forward,
        loss=loss,
        tokens=length,
        positions=_positions(config) if is_text else None,
        heads=_whole_number(config, "num_attention_heads"),
        experts=_experts(config),
        generate=_generate if kind.__name__.endswith(_CONTINUE_TEXTS) else None,
        notes=() if labels else ("loss: the mean of the outputs, as its class is not one with a loss",),
    )


def _read(path: Path) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError:
        raise BenchError(
            f"{path}: requires transformers; pip install 'dl-efficiency-bench[workloads]'"
        ) from None
    if not path.exists():
        raise BenchError(f"{path}: no such file")
    try:
        config = read_config(str(path))
        check_input(str(path), config)
        kind = named_class(config)
    except StageError as error:
        raise BenchError(str(error).removeprefix("huggingface:")) from None
    if kind is transformers.AutoModel:
        from transformers.models.auto import modeling_auto as auto

        tables = (auto.MODEL_FOR_MASKED_LM_MAPPING, auto.MODEL_FOR_CAUSAL_LM_MAPPING)
        more = (auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, auto.MODEL_MAPPING)
        found = next((table[type(config)] for table in (*tables, *more) if type(config) in table), None)
        if found is None:
            raise BenchError(f"{path}: transformers has no model of type {config.model_type!r}")
        kind = found[0] if isinstance(found, tuple) else found
    return config, kind


def _made(kind: Any, config: Any) -> Any:
    """Build a model with attention, and experts, in one operator each where its class has them."""
    more: dict[str, Any] = {"experts_implementation": "grouped_mm"} if _experts(config) else {}
    try:
        return kind._from_config(config, attn_implementation="sdpa", **more)
    except ValueError:  # this class has only the plain one
        return kind._from_config(config, attn_implementation="eager", **more)


def _length(path: Path, config: Any, sequence: int | None) -> int:
    most = _positions(config)
    if sequence and most and sequence > most:
        raise BenchError(f"--sequence {sequence} is more than the {most} positions of {path}")
    return sequence or min(most or MAX_DEFAULT_SEQUENCE, MAX_DEFAULT_SEQUENCE)


def _positions(config: Any) -> int | None:
    return _whole_number(config, "max_position_embeddings")


def _whole_number(config: Any, name: str) -> int | None:
    found = getattr(config, name, None)
    return found if isinstance(found, int) and found > 0 else None


def _labels(kind: Any) -> str:
    if kind.__name__.endswith(_LABEL_EACH_TOKEN):
        return "tokens"
    return "samples" if kind.__name__.endswith(_LABEL_EACH_SAMPLE) else ""


def _batches(config: Any, length: int | None, labels: str) -> Callable[[int], Batch]:
    def batch(samples: int) -> Batch:
        if length is None:
            inputs = torch.zeros(samples, getattr(config, "num_channels", 3), *image_sizes(config))
        else:
            inputs = torch.zeros(samples, length, dtype=torch.long)
        shape = {"tokens": (samples, length or 1), "samples": (samples,)}.get(labels)
        return inputs, None if shape is None else torch.zeros(shape, dtype=torch.long)

    return batch


def _experts(config: Any) -> Experts | None:
    chosen, total = (
        next((n for name in names if isinstance(n := getattr(config, name, None), int) and n), None)
        for names in (_CHOSEN, _TOTAL)
    )
    return Experts(chosen, total) if chosen and total and total > 1 else None


def _generate(model: nn.Module, tokens: torch.Tensor, cache: Any) -> tuple[Any, Any]:
    """Read tokens (batch, time) after those of the cache; return the outputs and the cache with them.

    Logits are computed of the last token alone, as generation does.
    """
    given = {} if cache is None else {cache[0]: cache[1]}
    output = model(tokens, use_cache=True, logits_to_keep=1, **given)
    # Its name differs between versions of transformers.
    return output, next((name, value) for name, value in output.items() if hasattr(value, "layers"))


def _quiet() -> AbstractContextManager[None]:
    """Keep transformers from warning of a model that is built without weights."""
    return replaced(logging.getLogger("transformers"), "disabled", True)
