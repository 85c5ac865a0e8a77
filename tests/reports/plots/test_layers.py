"""The figures of `bench sensitivity` and `bench profile`: each value in its place."""

from __future__ import annotations

import pytest

from bench.models.sensitivity import BITS, SPARSITY, LayerLoss
from reports.plots import layers, timeline
from tests.support.drawn import Keep, legend, lines


def loss(layer: str, change: str, amount: float, error: float, points: float | None = None) -> LayerLoss:
    return LayerLoss(layer, 100, change, amount, error, None, points)


FEW = [
    *(loss("conv", BITS, bits, error, points) for bits, error, points in ((8, 0.01, 0.1), (4, 0.2, 3.0))),
    *(loss("head", BITS, bits, error, points) for bits, error, points in ((8, 0.02, 0.2), (4, 0.3, 5.0))),
    *(loss("conv", SPARSITY, share, 0.1, 1.0) for share in (0.5, 0.9)),
    *(loss("head", SPARSITY, share, 0.4, 2.0) for share in (0.5, 0.9)),
]


def test_each_layer_has_its_loss_over_bits_and_over_sparsity(kept: Keep) -> None:
    figures = kept(layers)
    layers.draw_layers("digits/adam/none@cpu-eager", FEW)
    bits, sparsity = figures[0].axes
    assert lines(bits, 2) == {"conv": [(8, 0.1), (4, 3.0)], "head": [(8, 0.2), (4, 5.0)]}
    assert lines(sparsity, 2) == {"conv": [(0.5, 1.0), (0.9, 1.0)], "head": [(0.5, 2.0), (0.9, 2.0)]}
    assert legend(figures[0]) == ["head", "conv"], "the most sensitive first"
    assert bits.get_ylabel() == "quality loss in points" and bits.xaxis_inverted()
    assert (bits.get_xlabel(), sparsity.get_xlabel()) == ("bits of a weight", "share of weights set to 0")


def test_without_a_quality_it_is_the_error_of_the_outputs(kept: Keep) -> None:
    figures = kept(layers)
    layers.draw_layers("cell", [loss("conv", BITS, bits, 1 / bits) for bits in (8, 4)])
    assert lines(figures[0].axes[0], 2) == {"conv": [(8, 0.125), (4, 0.25)]}
    assert figures[0].axes[0].get_ylabel() == "relative error of the outputs"


def test_of_many_layers_the_most_sensitive_are_drawn(kept: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MAX_LAYERS", 3)
    figures = kept(layers)
    many = [loss(f"layer {n}", BITS, bits, n / bits) for n in range(1, 11) for bits in (8, 4)]
    plot = layers.draw_layers("cell", many)
    assert plot.caption.endswith(" The 3 most sensitive of 10 layers are shown.")
    assert set(lines(figures[0].axes[0], 2)) == {"layer 10", "layer 9", "layer 8"}


def test_memory_stands_over_milliseconds(kept: Keep) -> None:
    figures = kept(timeline)
    timeline.draw_timeline("cell", [(0.0, 0), (0.0015, 2**20), (0.002, 0)], 3)
    (axes,) = figures[0].axes
    (line,) = lines(axes, 3).values()
    assert line == [(0.0, 0.0), (pytest.approx(1.5), 2.0**20), (pytest.approx(2.0), 0.0)]
    assert axes.get_xlabel().startswith("milliseconds") and axes.get_ylabel() == "tensors alive"
