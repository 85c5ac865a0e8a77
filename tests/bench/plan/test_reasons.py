"""Why cells are skipped: grouped, what no command mends first, and what a command would add."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench.matrix.reading import read_matrix
from bench.plan import reasons
from bench.plan.planner import Plan, make_plan
from techniques.backends import BACKENDS, hardware

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
    groups = Counter(plan.reasons[cell.skipped].group for cell in plan.skipped)
    assert groups == {
        reasons.HARDWARE: 6,  # whatever else keeps these cells from running
        reasons.PACKAGES: 2,  # none and int8-static in fp32 on OpenVINO
        reasons.PRECISION: 3,  # fp64 on OpenVINO
        reasons.KERNEL: 4 + 1,  # int8-static and fp8 on cpu-eager, fp8 on OpenVINO
    }


def test_a_command_is_named_only_where_it_would_add_the_cell(plan: Plan) -> None:
    by_command = Counter(command for cell in plan.skipped for command in plan.reasons[cell.skipped].commands)
    assert by_command == {"pip install openvino": 2}


def test_a_setting_of_a_format_that_a_backend_lacks_is_a_group_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mse.toml"
    infer = '[infer]\ncompression = "int8-static:calibration=mse"\nbackend = "onnxruntime"\n'
    path.write_text(f'[train]\nworkload = "digits"\noptimizer = "adam"\n{infer}')
    plan = make_plan(read_matrix(str(path)), cpus=2)
    (cell,) = plan.skipped
    assert plan.reasons[cell.skipped].group == reasons.SETTING
    assert cell.skipped.startswith("onnxruntime does not calibrate int8-static by mse; it does by auto,")
