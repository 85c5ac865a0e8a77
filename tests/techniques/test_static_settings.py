"""How static ranges are calibrated, and which layers stay in full precision, on every backend that can."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from techniques.backends import BACKENDS
from techniques.backends.kernels import numbered_products
from techniques.backends.protocol import Numerics, Program
from techniques.compression import COMPRESSIONS, parse_recipe
from techniques.registry import CannotApply, TechniqueError

BATCH = 8
CALIBRATED = [
    (name, calibration)
    for name, row in BACKENDS.rows().items()
    if row.unavailable() is None and "int8-static" in row.formats
    for calibration in row.calibrations
]
OUTLIER = 300.0


def net() -> nn.Module:
    torch.manual_seed(0)
    features = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 32)).eval()


def lowered(folder: Path, backend: str, numerics: Numerics, batches: list[torch.Tensor]) -> Program:
    runtime = BACKENDS.default(backend).create()
    runtime.lower(net(), batches[0], numerics, batches, folder)
    return runtime.load(folder, net, numerics, 1)


def cosine(program: Program, batch: torch.Tensor) -> float:
    outputs = program.to_tensor(program(program.prepare(batch))).flatten()
    with torch.no_grad():
        return float(torch.cosine_similarity(outputs, net()(batch).flatten(), dim=0))


COMPILED = ("cpu-inductor", "executorch")
"""Backends whose lowering takes ten seconds and more."""


def some_slow(cases):
    """Return the cases, those of compiled backends marked as slow."""
    return [pytest.param(*case, marks=pytest.mark.slow) if case[0] in COMPILED else case for case in cases]


@pytest.mark.parametrize(("backend", "calibration"), some_slow(CALIBRATED))
def test_every_way_of_calibration_gives_the_models_outputs(tmp_path, backend, calibration):
    batches = list(torch.randn(64, 64, generator=torch.Generator().manual_seed(1)).split(BATCH))
    numerics = Numerics("int8-static", "fp32", {"calibration": calibration})
    assert cosine(lowered(tmp_path, backend, numerics, batches), batches[0]) > 0.99


@pytest.mark.parametrize("backend", [name for name, way in CALIBRATED if way == "percentile"])
def test_a_percentile_does_without_an_outlier_that_min_max_makes_room_for(tmp_path, backend):
    batches = list(torch.randn(512, 64, generator=torch.Generator().manual_seed(1)).split(BATCH))
    batches[-1][0, 0] = OUTLIER
    found = {}
    for calibration in ("min-max", "percentile"):
        folder = tmp_path / calibration
        folder.mkdir()
        settings = {"calibration": calibration, "percentile": 99.9}
        program = lowered(folder, backend, Numerics("int8-static", "fp32", settings), batches)
        found[calibration] = cosine(program, batches[0])
    assert found["percentile"] > 0.98 > found["min-max"]


def test_a_way_that_a_backend_lacks_is_refused_in_a_line_before_anything_runs():
    def reason(backend: str, recipe: str) -> str | None:
        technique = parse_recipe(recipe).format
        return BACKENDS.get(backend).cannot_lower(technique.name, "fp32", technique.settings)

    assert reason("onnxruntime", "int8-static:calibration=mse") == (
        "onnxruntime does not calibrate int8-static by mse; it does by auto, min-max, percentile, entropy"
    )
    assert reason("executorch", "int8-static:calibration=entropy") == (
        "executorch does not calibrate int8-static by entropy; it does by auto, min-max, mse"
    )
    assert reason("openvino", "int8-static:calibration=percentile,percentile=99.9") is None
    assert reason("openvino", "int8-static:percentile=99.9") == (
        "int8-static: percentile is a setting of calibration=percentile"
    )
    assert reason("cuda-inductor", "int8-dynamic:keep=head") is None
    plugged = BACKENDS.get("mps")  # a row that says nothing of it
    assert (
        plugged._cannot_set("int8-static", {"keep": "head"}) == "mps cannot leave layers out of int8-static"
    )


def test_a_format_without_settings_is_spelled_as_before():
    for name, row in COMPRESSIONS.rows().items():
        if row.kind == "format" and not row.requires:
            assert parse_recipe(name).text == name
    assert parse_recipe("int8-static:mixed=0,calibration=auto").text == "int8-static"
    assert parse_recipe('int8-static:keep="head,fc"').format.settings["keep"] == "head,fc"


KEEPING = [
    (name, format_)
    for name, row in BACKENDS.rows().items()
    if row.unavailable() is None and row.keeps_layers and not row.only_generates
    for format_ in row.formats
    if format_ != "sparse-2-4"
]


@pytest.mark.parametrize(("backend", "format_"), some_slow(KEEPING))
def test_a_kept_layer_is_exact_and_the_others_are_not(tmp_path, backend, format_):
    """The first linear layer has weights that no format can round; it is right only where it is kept."""
    row = BACKENDS.get(backend)
    precision = next(name for name in row.precisions if row.cannot_lower(format_, name) is None)
    batches = list(torch.randn(32, 64, generator=torch.Generator().manual_seed(1)).split(BATCH))

    def spoiled() -> nn.Module:
        model = net()
        with torch.no_grad():
            model[1].weight[0], model[1].bias[0] = 0.0, 0.0
            model[4].weight[:, 0] = 5000.0  # it multiplies zeros, and all others round to zero beside it
        return model

    def run(folder: Path, kept: tuple[str, ...]) -> float:
        folder.mkdir()
        runtime, numerics = BACKENDS.default(backend).create(), Numerics(format_, precision, kept=kept)
        runtime.lower(spoiled(), batches[0], numerics, batches, folder)
        program = runtime.load(folder, spoiled, numerics, 1)
        outputs = program.to_tensor(program(program.prepare(batches[0]))).flatten()
        with torch.no_grad():
            return float(torch.cosine_similarity(outputs, spoiled()(batches[0]).flatten(), dim=0))

    try:
        assert run(tmp_path / "kept", ("4",)) > 0.98
    except CannotApply as reason:
        if "no VNNI" not in str(reason):
            raise
        pytest.skip(str(reason))
    if format_ != "int4-weight":  # in groups the others of the row keep their scale
        assert run(tmp_path / "all", ()) < 0.9


def test_layers_in_float_and_in_int8_are_listed_beside_each_other(tmp_path):
    batches = list(torch.randn(32, 64).split(BATCH))
    program = lowered(tmp_path, "onnxruntime", Numerics("int8-static", "fp32", kept=("6",)), batches)
    products = numbered_products(program.kernels(program.prepare(batches[0])))
    assert any(name.endswith(" fp32") for name in products)


def test_2_4_sparse_kernels_need_such_weights_and_a_gpu():
    assert parse_recipe("prune-2-4+sparse-2-4").text == "prune-2-4+sparse-2-4"
    with pytest.raises(
        TechniqueError, match="sparse-2-4 requires 2:4 weights, which no step before it leaves"
    ):
        parse_recipe("prune-magnitude:0.5+sparse-2-4")
    for name in ("cpu-eager", "cpu-inductor", "onnxruntime", "executorch", "openvino"):
        reason = BACKENDS.get(name).cannot_lower("sparse-2-4", "fp32")
        assert reason == (
            f"{name} has no kernel for sparse-2-4: CPUs have no instructions for 2:4 sparse products"
        )
    assert BACKENDS.get("cuda-eager").cannot_lower("sparse-2-4", "bf16") is None


@pytest.mark.parametrize(
    "backend", [name for name, row in BACKENDS.rows().items() if row.device == "cpu" and row.formats]
)
def test_fp8_is_refused_on_a_cpu_with_what_its_kernels_would_do(backend):
    reason = BACKENDS.get(backend).cannot_lower("fp8", "fp32")
    assert reason is not None and reason.startswith(f"{backend} has no kernel for fp8: ")
