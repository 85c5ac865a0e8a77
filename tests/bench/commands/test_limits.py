"""`bench limits`: prints what became of each limit, writes files for CI, and exits with 0, 1, 2 or 3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.matrix.limits import parse_limit
from tests.support.synthetic_run import Synthetic, build

MATRIX = """
limits = ["latency_us <= {most}"]
[train]
workload = "digits"
optimizer = "adam"
[infer]
compression = "none"
backend = ["cpu-eager", "onnxruntime"]
"""


def results_with(folder: Path, *texts: str, **made_up: object) -> Path:
    """Return a results folder of a run whose matrix has these limits."""
    request = {"limits": [parse_limit(text).to_json() for text in texts]}
    build(folder, Synthetic(("adam",), ("none",), request=request, **made_up)).close()  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize(
    ("text", "strict", "code"),
    [
        ("latency_us <= 2000", True, 0),
        ("latency_us <= 700", False, 1),
        ("latency_p99_ms <= 20", False, 0),
        ("latency_p99_ms <= 20", True, 3),
    ],
)
def test_the_exit_code_says_whether_a_limit_is_broken(command, tmp_path, text, strict, code):
    done = command("limits", "--results", results_with(tmp_path, text), *(["--strict"] if strict else []))
    assert done.returncode == code, done.stdout + done.stderr


def test_it_prints_every_limit_the_broken_ones_first(command, tmp_path):
    done = command("limits", "--results", results_with(tmp_path, "latency_us <= 700", "accuracy >= 0.9"))
    *lines, summary = done.stdout.splitlines()
    assert summary == "run-1 against its limits: LIMIT BROKEN (1 broken, 3 kept)"
    line, *others = lines
    assert [other.split("  ")[0] for other in others] == ["kept"] * 3
    assert line.startswith("broken  infer infer digits/dense@cpu-eager 1 latency_s: ")
    assert line.endswith(", limit <= 700 us")


def test_files_for_ci_are_written_together(command, tmp_path):
    results = results_with(tmp_path / "results", "latency_us <= 700")
    files = {name: tmp_path / f"out.{name}" for name in ("json", "junit", "markdown")}
    words = [word for name, path in files.items() for word in (f"--{name}", path)]
    assert command("limits", "--results", results, *words).returncode == 1
    assert json.loads(files["json"].read_text())["kind"] == "limits"
    assert b'failures="1"' in files["junit"].read_bytes()
    assert files["markdown"].read_text().startswith("## Benchmark limits")


@pytest.mark.parametrize(("most", "code"), [(2000, 0), (700, 1)])
def test_a_run_can_be_held_against_the_limits_of_another_file(command, tmp_path, most, code):
    results = results_with(tmp_path / "results", "latency_us <= 1")
    matrix = tmp_path / "mine.toml"
    matrix.write_text(MATRIX.format(most=most))
    assert command("limits", "--matrix", matrix, "--results", results).returncode == code


def test_a_run_without_limits_is_one_line_that_says_how_to_write_one(command, tmp_path):
    done = command("limits", "--results", results_with(tmp_path))
    assert done.returncode == 2
    assert "the matrix of run run-1 has no limits; write limits = [" in done.stderr


@pytest.mark.slow
def test_a_run_whose_matrix_has_a_broken_limit_says_which_and_exits_with_1(bench, tmp_path):
    matrix = tmp_path / "mine.toml"
    text = MATRIX.replace(', "onnxruntime"', "")
    text = text.replace("latency_us <= {most}", 'parameters <= 1", "parameters >= 1')
    matrix.write_text(text + "[budget]\ntrain_steps = 2\nmax_launches = 3\nsample_s = 0.05\n")
    done = bench("run", "--matrix", matrix, "--results", tmp_path / "results")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "limits: 1 broken, 1 kept" in done.stdout
    assert "parameters: " in done.stdout and "limit <= 1" in done.stdout
