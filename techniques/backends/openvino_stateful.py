"""A decoder as OpenVINO's stateful IR, as OpenVINO GenAI reads it: the key-value cache is part of the model.

The interface is that of Hugging Face's optimum-intel: inputs `input_ids`, `attention_mask`, `position_ids`
and `beam_idx`, the text that each row continues; the output `logits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from techniques.backends.cached_decoder import (
    INPUTS,
    LOGITS,
    PARTS,
    CachedDecoder,
    cache_names,
    cache_shapes,
    example_inputs,
)
from techniques.backends.openvino_runtime import converted

BEAMS = "beam_idx"
_PAST, _PRESENT = "past_key_values", "present"


def stateful(decoder: Any) -> Any:
    """Return a causal language model of transformers as a stateful model, of any batch and length.

    Raises CannotApply where OpenVINO has no rule for an operator, or the decoder keeps nothing of a layer.
    """
    from openvino._offline_transformations import apply_make_stateful_transformation

    shapes = cache_shapes(decoder)
    past, present = cache_names(len(shapes), _PAST), cache_names(len(shapes), _PRESENT)
    with torch.no_grad():
        model = converted(CachedDecoder(decoder).eval(), example_inputs(shapes))
    of_cache = [[-1, heads, -1, channels] for heads, channels in shapes for _ in PARTS]
    sizes = [*([-1, -1] for _ in INPUTS), *of_cache]
    for port, name, size in zip(model.inputs, [*INPUTS, *past], sizes, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
        port.get_node().set_partial_shape(_shape(size))
    for port, name in zip(model.outputs, [LOGITS, *present], strict=True):
        port.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()
    _choose_beams(model, past)
    apply_make_stateful_transformation(model, dict(zip(past, present, strict=True)))
    _start_empty(model)
    model.validate_nodes_and_infer_types()
    return model


def _shape(sizes: list[int]) -> Any:
    import openvino

    return openvino.PartialShape(sizes)


def _choose_beams(model: Any, past: list[str]) -> None:
    """Let each row go on from the cache of the row that `beam_idx` names."""
    from openvino import opset13 as operators

    beams = operators.parameter(_shape([-1]), dtype=np.int32, name=BEAMS)
    beams.output(0).get_tensor().add_names({BEAMS})
    model.add_parameters([beams])
    for name in past:
        port = model.input(name)
        readers = port.get_target_inputs()
        chosen = operators.gather(port.get_node(), beams, operators.constant(0, dtype=np.int64))
        for reader in readers:
            reader.replace_source_output(chosen.output(0))
    model.validate_nodes_and_infer_types()


def _start_empty(model: Any) -> None:
    """Let a cache begin with no token, for as many texts as there are."""
    from openvino import opset13 as operators

    sizes = operators.shape_of(model.input(INPUTS[0]), output_type="i64")
    texts = operators.gather(sizes, operators.constant([0]), operators.constant(0))
    for operator in model.get_ops():
        if operator.get_type_name() == "ReadValue":
            known = operator.get_output_partial_shape(0)
            rest = [dim.get_length() if dim.is_static else 0 for dim in known][1:]
            shape = operators.concat([texts, *(operators.constant([size]) for size in rest)], 0)
            zero = operators.constant(0.0, dtype=np.float32)
            operator.set_arguments([operators.broadcast(zero, shape)])
