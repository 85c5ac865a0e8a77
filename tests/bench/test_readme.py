"""What the README shows can be pasted and runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
MATRIX = """
[train]
workload = "{workload}"
optimizer = "{optimizer}"
[infer]
compression = "{compression}"
backend = "{backend}"
"""


@pytest.mark.parametrize(
    ("mark", "workload", "optimizer", "compression", "backend"),
    [
        ("OPTIMIZERS.add", "digits", "nesterov:lr=0.1", "none", "cpu-eager"),
        ("WORKLOADS.add", "wine", "adam", "student:0.5", "cpu-eager"),
        ("COMPRESSIONS.add", "digits", "adam", "round-weights:3", "cpu-eager"),
        ("BACKENDS.add", "digits", "adam", "none", "torchscript"),
    ],
)
def test_an_example_of_a_plug_in_runs(bench, tmp_path, mark, workload, optimizer, compression, backend):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if mark in block]
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "mine.toml").write_text(
        MATRIX.format(workload=workload, optimizer=optimizer, compression=compression, backend=backend)
    )
    done = bench(
        *("run", "--matrix", tmp_path / "mine.toml", "--plugin", tmp_path / "mine.py"),
        *("--smoke", "--results", tmp_path / "results"),
    )
    assert done.returncode == 0, done.stderr
    report = next((tmp_path / "results").glob("*/report.md")).read_text()
    assert "1 ok" in report and all(name.partition(":")[0] in report for name in (optimizer, backend))


def test_the_example_of_a_backend_is_listed_and_takes_thirty_lines(bench, tmp_path):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "BACKENDS.add" in block]
    assert len(code.splitlines()) <= 30
    (tmp_path / "mine.py").write_text(code)
    done = bench("list", "backends", "--plugin", tmp_path / "mine.py")
    assert "torchscript" in done.stdout, done.stderr


def test_the_example_of_a_matrix_can_be_read(bench, tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    (tmp_path / "my.toml").write_text(text)
    done = bench("run", "--matrix", tmp_path / "my.toml", "--dry-run", "--no-probe")
    assert done.returncode == 0, done.stderr
