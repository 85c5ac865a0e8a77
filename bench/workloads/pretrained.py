"""A Hugging Face directory or id as a model: it is complete, or one line says what is missing."""

from __future__ import annotations

from pickle import UnpicklingError
from typing import Any

import torch

from bench.errors import StageError

_NAMED = 3
_INPUTS = ("input_ids", "pixel_values")


def read_config(name: str) -> Any:
    """Return the configuration; code that comes with a model is not run.

    Raises StageError where there is none, or where it asks for such code.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # whatever a file that is no configuration raises
        raise StageError(f"huggingface:{name}: {_first_line(error)}") from None


def named_class(config: Any) -> Any:
    """Return the class of transformers that the configuration names, else the one without a head.

    Raises StageError where it names only classes that transformers does not have: without them the head
    would be missing.
    """
    import transformers

    named = [config.architectures] if isinstance(config.architectures, str) else config.architectures or ()
    # Models only: transformers has functions and other classes by name too, which a file must not choose.
    found = [
        each
        for each in (getattr(transformers, str(name), None) for name in named)
        if isinstance(each, type) and issubclass(each, transformers.PreTrainedModel)
    ]
    if named and not found:
        raise StageError(
            f"transformers {transformers.__version__} has no model {', '.join(map(str, named))}, which "
            "config.json names in architectures; wrap your own class in module:FILE.py:FUNCTION"
        )
    return found[0] if found else transformers.AutoModel


def load_weights(name: str, config: Any) -> Any:
    """Return a model with the weights of its files, in evaluation mode; raises StageError where some lack."""
    kind = named_class(config)
    try:
        model, found = kind.from_pretrained(
            name,
            attn_implementation="sdpa",
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except UnpicklingError:  # of PyTorch's restricted unpickler
        raise StageError(
            f"huggingface:{name}: its weights are a pickle of more than tensors, which is not loaded; save "
            "them as safetensors"
        ) from None
    except Exception as error:  # whatever files that are no weights, or others' weights, raise
        raise StageError(f"huggingface:{name}: {_first_line(error)}") from None
    missing = sorted(found["missing_keys"])
    if missing:
        raise StageError(
            f"huggingface:{name}: its files lack {_listed(missing)} of {type(model).__name__}, which would "
            "be drawn at random; save the whole model, or name the class that was saved in config.json's "
            "architectures"
        )
    unused = sorted(found["unexpected_keys"])
    if unused and not config.architectures:
        raise StageError(
            f"huggingface:{name}: config.json names no architectures, and {type(model).__name__} has no "
            f"{_listed(unused)}; name the class that was saved"
        )
    return model.eval()


def check_length(name: str, config: Any, length: int, model: torch.nn.Module | None = None) -> None:
    """Raise StageError where texts of `length` tokens have more than the model has positions for."""
    most = getattr(config, "max_position_embeddings", None)
    # Where padding has a position of its own (RoBERTa), texts begin after it.
    for place, table in model.named_modules() if model is not None else ():
        if isinstance(table, torch.nn.Embedding) and place.endswith("position_embeddings"):
            first = 0 if table.padding_idx is None else table.padding_idx + 1
            most = min(most or table.num_embeddings, table.num_embeddings - first)
    if isinstance(most, int) and 0 < most < length:
        raise StageError(
            f"huggingface:{name}: length={length} is more than the {most} positions of the model; give "
            f"length={most} or less"
        )


def check_input(name: str, config: Any) -> None:
    """Raise StageError where the model takes more than one text or image, or something else."""
    kind = named_class(config)
    if kind.__name__ == "AutoModel":
        from transformers.models.auto.modeling_auto import MODEL_MAPPING

        kind = MODEL_MAPPING.get(type(config), kind)
    both = (
        getattr(config, "text_config", None) is not None
        and getattr(config, "vision_config", None) is not None
    )
    taken = getattr(kind, "main_input_name", _INPUTS[0])
    if getattr(config, "is_encoder_decoder", False):
        raise StageError(
            f"huggingface:{name}: has two inputs, source and target; write a workload of your own"
        )
    if both or taken not in _INPUTS:
        what = "texts and images" if both else taken
        raise StageError(
            f"huggingface:{name}: {kind.__name__} takes {what}, neither tokens nor pixels alone; write a "
            "workload of your own"
        )


def image_sizes(config: Any) -> tuple[int, int]:
    """Return height and width of the images that a configuration names; 224 x 224 where it names none."""
    size: Any = getattr(config, "image_size", None) or 224
    if isinstance(size, dict):
        return int(size["height"]), int(size["width"])
    if isinstance(size, list | tuple):
        return int(size[0]), int(size[-1])
    return int(size), int(size)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more tensors"


def _first_line(error: Exception) -> str:
    """Return what an error says first, its headline without what follows to be done in Python."""
    if "contains custom code" in str(error):
        return "its model is code in the folder, which is not run; load it in module:FILE.py:FUNCTION"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]
