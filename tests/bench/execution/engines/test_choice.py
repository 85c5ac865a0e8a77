"""`--engine`: what is missing or out of reach is one line, and exit code 2."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from bench.errors import BenchError
from bench.execution.engines import ENGINES, engine_named
from techniques.registry import TechniqueError
from tests.support.clusters import free_ports


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_one_line_with_the_command_that_adds_it(monkeypatch, name, module):
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    with pytest.raises(BenchError) as error:
        engine_named(name)
    assert str(error.value) == (
        f"--engine {name}: requires the package {module}: pip install 'dl-efficiency-bench[{name}]'"
    )


def test_an_unknown_engine_names_those_that_are_known():
    with pytest.raises(TechniqueError, match=r"unknown engine 'slurn'; did you mean 'slurm'\?"):
        engine_named("slurn")


def test_engines_have_settings_as_techniques_have():
    assert ENGINES.parse("slurm:4,partition=gpu").settings["nodes"] == 4
    with pytest.raises(TechniqueError, match="nodes: '0' is out of its range"):
        ENGINES.parse("slurm:0")


def test_a_run_imports_neither_ray_nor_submitit_unless_told_to(tmp_path):
    script = (
        "import sys; from pathlib import Path; import bench.execution.session\n"
        "from bench.execution.options import RunOptions\n"
        "from bench.execution.preparation import prepare\n"
        f"prepare(RunOptions('ci', Path({str(tmp_path)!r}), smoke=True))\n"
        "assert not {'ray', 'submitit', 'fsspec'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_ray_cluster_that_is_not_there_is_one_line(monkeypatch, command, tmp_path):
    pytest.importorskip("ray")
    (port,) = free_ports(1)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    done = command("run", "--matrix", "ci", "--engine", "ray", "--results", tmp_path)
    assert done.returncode == 2
    assert f"no Ray cluster at RAY_ADDRESS=127.0.0.1:{port} (Connection refused)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_machine_without_slurm_is_one_line(monkeypatch, command, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = command("run", "--matrix", "ci", "--engine", "slurm", "--results", tmp_path / "results")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("bench: --engine slurm: ") and "srun" in done.stderr
