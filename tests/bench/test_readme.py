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
backend = "cpu-eager"
"""


@pytest.mark.parametrize(
    ("mark", "workload", "optimizer", "compression"),
    [
        ("OPTIMIZERS.add", "digits", "nesterov:lr=0.1", "none"),
        ("WORKLOADS.add", "wine", "adam", "student:0.5"),
        ("COMPRESSIONS.add", "digits", "adam", "round-weights:3"),
    ],
)
def test_an_example_of_a_plug_in_runs(bench, tmp_path, mark, workload, optimizer, compression):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if mark in block]
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "mine.toml").write_text(
        MATRIX.format(workload=workload, optimizer=optimizer, compression=compression)
    )
    done = bench(
        *("run", "--matrix", tmp_path / "mine.toml", "--plugin", tmp_path / "mine.py"),
        *("--smoke", "--results", tmp_path / "results"),
    )
    assert done.returncode == 0, done.stderr
    assert "1 ok" in (next((tmp_path / "results").glob("*/report.md"))).read_text()


def test_the_example_of_a_matrix_can_be_read(bench, tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    (tmp_path / "my.toml").write_text(text)
    done = bench("run", "--matrix", tmp_path / "my.toml", "--dry-run", "--no-probe")
    assert done.returncode == 0, done.stderr
