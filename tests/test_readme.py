"""What the README shows can be pasted and runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
MATRIX = """
[train]
workload = "{workload}"
optimizer = "{optimizer}"
[infer]
compression = {compressions}
backend = {backends}
precision = {precisions}
"""


def example(mark: str) -> str:
    """Return the README's example that has this in it."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if mark in block]
    return code


@pytest.fixture
def report_of(bench, tmp_path):
    """Return a function that runs a matrix with plug-ins, and returns what the report says."""

    def run(matrix: str, *codes: str) -> str:
        (tmp_path / "mine.toml").write_text(matrix)
        plugins = [tmp_path / f"mine{number}.py" for number, _ in enumerate(codes)]
        for path, code in zip(plugins, codes, strict=True):
            path.write_text(code)
        words = [word for path in plugins for word in ("--plugin", path)]
        results = tmp_path / "results"
        done = bench("run", "--matrix", tmp_path / "mine.toml", *words, "--smoke", "--results", results)
        assert done.returncode == 0, done.stderr
        return next(results.glob("*/report.md")).read_text()

    return run


def test_the_example_of_a_workload_runs(report_of):
    chosen = {"workload": "wine", "optimizer": "adam", "compressions": '"student:0.5"'}
    report = report_of(
        MATRIX.format(**chosen, backends='"cpu-eager"', precisions='"fp32"'), example("WORKLOADS.add")
    )
    assert "1 ok" in report and "wine" in report


def test_the_examples_of_an_optimizer_a_compression_and_a_backend_are_held_against_the_others(report_of):
    matrix = MATRIX.format(
        workload="digits",
        optimizer="nesterov:lr=0.1",
        compressions=["none", "round-weights:3"],
        backends=["cpu-eager", "torchscript"],
        precisions=["fp32", "bf16"],
    )
    report = report_of(
        matrix, *(example(f"{table}.add") for table in ("OPTIMIZERS", "COMPRESSIONS", "BACKENDS"))
    )
    assert "8 cells: 8 ok" in report and "nesterov" in report and "round-weights" in report
    rows = [line for line in report.splitlines() if "/none@torchscript/precision=fp32" in line]
    assert rows and re.search(r"\| \d[\d.]*× \|", rows[0])  # as fast as eager PyTorch how many times


def test_the_example_of_a_backend_is_listed_and_takes_thirty_lines(bench, tmp_path):
    code = example("BACKENDS.add")
    assert len(code.splitlines()) <= 30
    (tmp_path / "mine.py").write_text(code)
    done = bench("list", "backends", "--plugin", tmp_path / "mine.py")
    assert "torchscript" in done.stdout, done.stderr


def test_the_example_of_a_matrix_can_be_read(bench, tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    (tmp_path / "my.toml").write_text(text)
    done = bench("run", "--matrix", tmp_path / "my.toml", "--dry-run", "--no-probe")
    assert done.returncode == 0, done.stderr
