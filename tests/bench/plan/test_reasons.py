"""Why cells are skipped: grouped, what no command mends first, and what a command would add."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.matrix.reading import read_matrix
from bench.plan import reasons
from bench.plan.planner import Plan, make_plan
from bench.workloads import WORKLOADS
from techniques.backends import BACKENDS, hardware
from techniques.registry import Registry

MATRIX = """
[train]
workload = "digits"
optimizer = "adam"
[infer]
compression = ["none", "int8-static", "fp8"]
backend = ["cpu-eager", "openvino", "cuda-eager"]
precision = ["fp32", "fp64"]
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a machine that has neither a GPU nor OpenVINO."""
    rows = dict(BACKENDS.rows())
    rows["openvino"] = replace(
        rows["openvino"], needs=("a_module_nobody_has",), install="pip install openvino", check=None
    )
    monkeypatch.setattr(BACKENDS, "_rows", rows)
    monkeypatch.setattr(hardware, "_nvidia_gpus", lambda: 0)
    monkeypatch.setattr(hardware, "_JETSON", Path("/nowhere"))
    path = tmp_path / "some.toml"
    path.write_text(MATRIX)
    return make_plan(read_matrix(str(path)), cpus=2)


def test_each_skipped_cell_belongs_to_a_group(plan: Plan) -> None:
    groups = Counter(plan.reasons[cell.name].group for cell in plan.skipped)
    assert groups == {
        reasons.HARDWARE: 6,  # whatever else keeps these cells from running
        reasons.PACKAGES: 2,  # none and int8-static in fp32 on OpenVINO
        reasons.PRECISION: 3,  # fp64 on OpenVINO
        reasons.KERNEL: 4 + 1,  # int8-static and fp8 on cpu-eager, fp8 on OpenVINO
    }


def test_a_command_is_named_only_where_it_would_add_the_cell(plan: Plan) -> None:
    by_command = Counter(command for cell in plan.skipped for command in plan.reasons[cell.name].commands)
    assert by_command == {"pip install openvino": 2} == plan.missing


def without(monkeypatch: pytest.MonkeyPatch, registry: Registry[Any], name: str, command: str) -> None:
    """Make a row need a package that nobody has."""
    rows = dict(registry.rows())
    rows[name] = replace(rows[name], needs=("a_module_nobody_has",), install=command, check=None)
    monkeypatch.setattr(registry, "_rows", rows)


def test_cells_that_lack_one_or_two_packages_are_counted_by_what_each_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, BACKENDS, "openvino", "pip install openvino")
    without(monkeypatch, WORKLOADS, "digits", "pip install transformers")
    path = tmp_path / "two.toml"
    infer = '[infer]\ncompression = "none"\nbackend = ["cpu-eager", "onnxruntime", "openvino"]\n'
    path.write_text(f'[train]\nworkload = ["digits", "breast-cancer-mlp"]\noptimizer = "adam"\n{infer}')
    plan = make_plan(read_matrix(str(path)), cpus=2)
    assert plan.missing == {
        "pip install transformers": 2,
        "pip install openvino": 1,
        "pip install transformers && pip install openvino": 1,
    }


def test_what_auto_leaves_out_is_counted_where_a_command_would_add_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, BACKENDS, "openvino", "pip install openvino")
    monkeypatch.setattr(hardware, "_nvidia_gpus", lambda: 0)
    monkeypatch.setattr(hardware, "_JETSON", Path("/nowhere"))
    path = tmp_path / "auto.toml"
    train = '[train]\nworkload = ["digits", "breast-cancer-mlp"]\noptimizer = ["adam", "sgd"]\n'
    infer = '[infer]\ncompression = ["none", "int8-static", "fp8"]\nbackend = "auto"\n'
    excluded = '[[exclude]]\noptimizer = "sgd"\nbackend = "openvino"\n'
    path.write_text(train + infer + excluded)
    plan = make_plan(read_matrix(str(path)), cpus=2)
    assert not any(cell.axes["backend"] == "openvino" for cell in plan.cells)
    # Of both workloads with Adam; fp8 has no kernel there, whatever is installed.
    assert plan.missing["pip install openvino"] == 4
    narrowed = make_plan(read_matrix(str(path), "workload=digits"), cpus=2)
    assert narrowed.missing["pip install openvino"] == 2
    assert not any("GPU" in command for command in plan.missing)


def test_a_setting_of_a_format_that_a_backend_lacks_is_a_group_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mse.toml"
    infer = '[infer]\ncompression = "int8-static:calibration=mse"\nbackend = "onnxruntime"\n'
    path.write_text(f'[train]\nworkload = "digits"\noptimizer = "adam"\n{infer}')
    plan = make_plan(read_matrix(str(path)), cpus=2)
    (cell,) = plan.skipped
    assert plan.reasons[cell.name].group == reasons.SETTING
    assert cell.skipped.startswith("onnxruntime does not calibrate int8-static by mse; it does by auto,")
