"""Formats of graphs of OpenVINO, by NNCF."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from techniques.backends.calibration import calibration_parts
from techniques.backends.numerics import Numerics
from techniques.registry import TechniqueError

# How much of the outliers goes into the weights (Xiao et al. 2023, "SmoothQuant"). Of MiniLM's texts the
# cosine to fp32 was 0.984 at least, at NNCF's own 0.95 only 0.952, at 0.5 or without any 0.982.
_SMOOTHING = 0.7


def quantize(model: Any, numerics: Numerics, calibration: Iterable[torch.Tensor], batch_size: int) -> Any:
    """Return a graph of OpenVINO in a format.

    Raises CannotApply for fewer calibration samples than a batch has, TechniqueError for other formats.
    """
    import nncf

    left: dict[str, Any] = {"patterns": patterns_of(numerics.kept), "validate": False}
    if numerics.format in ("int8-weight", "int8-dynamic"):
        ignored = nncf.IgnoredScope(**left)
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM, ignored_scope=ignored)
    parts = [part.numpy() for part in calibration_parts(calibration, batch_size)]
    if numerics.format == "int8-static":
        advanced = nncf.AdvancedQuantizationParameters(**_ranges(numerics))
        options: dict[str, Any] = {}
        if has_attention(model):
            options = {"model_type": nncf.ModelType.TRANSFORMER}
            advanced.smooth_quant_alphas = nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
            left["names"] = _products_of_means(model)
        return nncf.quantize(
            model,
            nncf.Dataset(parts),
            subset_size=len(parts),
            ignored_scope=nncf.IgnoredScope(**left),
            advanced_parameters=advanced,
            **options,
        )
    if numerics.format == "int4-weight":
        return _compress_to_int4(model, nncf.Dataset(parts), left)
    raise TechniqueError(f"OpenVINO has no kernel for {numerics.format}")


def patterns_of(kept: Iterable[str]) -> list[str]:
    """Return patterns that match the names of OpenVINO's operators of these modules of a PyTorch model."""
    return [rf".*__module\.(model\.)?{re.escape(name)}[./].*" for name in kept]


def _ranges(numerics: Numerics) -> dict[str, Any]:
    """Return how NNCF finds the ranges of activations; its own way is the mean of batches' extremes."""
    from nncf.quantization import range_estimator as nncf_ranges

    known = nncf_ranges.RangeEstimatorParametersSet
    kinds = {"min-max": known.MINMAX, "percentile": known.MEAN_QUANTILE}
    if numerics.calibration not in kinds:
        return {}
    found = copy.deepcopy(kinds[numerics.calibration])
    found.min.quantile_outlier_prob = found.max.quantile_outlier_prob = numerics.cut_share
    return {"activations_range_estimator_params": found}


def _compress_to_int4(model: Any, calibration: Any, left: Mapping[str, Any]) -> Any:
    """Return a model with int4 weights of its products, with scales that keep their outputs.

    Convolutions and embeddings have int8 weights, and products whose inputs are no groups of 32.
    """
    import nncf

    modes, fallback = nncf.CompressWeightsMode, nncf.GroupSizeFallbackMode.ADJUST
    products = nncf.compress_weights(
        model,
        mode=modes.INT4_SYM,
        dataset=calibration,
        ignored_scope=nncf.IgnoredScope(types=["Gather"], **left),
        advanced_parameters=nncf.AdvancedCompressionParameters(group_size_fallback_mode=fallback),
        **{"group_size": 32, "ratio": 1.0, "all_layers": True, "scale_estimation": True},
    )
    return nncf.compress_weights(products, mode=modes.INT8_ASYM, ignored_scope=nncf.IgnoredScope(**left))


def _products_of_means(model: Any) -> list[str]:
    """Name the products of means, which stay as they are in a transformer.

    OpenVINO 2026.4 applies the scales of a smoothed mean along the wrong axis (relative error 0.4, the graph
    itself being right).
    """
    products = [operator for operator in model.get_ops() if operator.get_type_name() == "MatMul"]
    sources = {product.get_friendly_name(): product.input_value(0).get_node() for product in products}
    return [name for name, source in sources.items() if source.get_type_name().startswith("Reduce")]


def has_attention(model: Any) -> bool:
    """Say whether a graph of OpenVINO attends: by its own operator, or by a product with a softmax."""
    kinds = {operator.get_type_name() for operator in model.get_ops()}
    softmaxes = [operator for operator in model.get_ops() if operator.get_type_name() == "Softmax"]
    readers = [reader.get_node() for each in softmaxes for reader in each.output(0).get_target_inputs()]
    return "ScaledDotProductAttention" in kinds or any(each.get_type_name() == "MatMul" for each in readers)


def shares_of_zeros(model: Any) -> list[float]:
    """Return the share of zeros in each int8 constant: the time of sparse products depends on it."""
    constants = (operator for operator in model.get_ordered_ops() if operator.get_type_name() == "Constant")
    whole = (each for each in constants if each.get_element_type().to_string() == "i8")
    return [round(float((each.get_data() == 0).mean()), 3) for each in whole]
