"""The GitHub action: its inputs reach the command line as they are, and its exit code is the command's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.matrix.limits import parse_limit
from tests.support.synthetic_run import Synthetic, build

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = ACTION["runs"]["steps"]
COMPARE = next(step for step in STEPS if step.get("id") == "compare")

RECORD = "import json, os, sys; print(json.dumps(sys.argv[1:])); sys.exit(int(os.environ['CODE']))"
RECORDING = f"""#!/bin/sh
exec {sys.executable} -c "{RECORD}" "$@"
"""
REAL = f"""#!/bin/sh
exec {sys.executable} "$@"
"""


def run_step(
    folder: Path, python: str, inputs: Mapping[str, str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the action's last step by the shell that GitHub gives it, with these inputs."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "python"
    program.write_text(python)
    program.chmod(0o755)
    given = {name: str(entry.get("default", "")) for name, entry in ACTION["inputs"].items()} | inputs

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: given[found[1]], text)

    variables = {name: filled(value) for name, value in COMPARE["env"].items()}
    (folder / "step.sh").write_text(COMPARE["run"])
    whole = {
        **os.environ,
        **{"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        **{"GITHUB_OUTPUT": str(folder / "output"), "CODE": "0"},
        **variables,
        **environment,
    }
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "step.sh"]
    return subprocess.run(words, cwd=folder, env=whole, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, ["ab", "--json", "bench-findings.json"]),
        (
            {"a": "main", "b": "HEAD", "matrix": "ci", "budget": "600", "strict": "true", "json": "x y.json"},
            [
                *("ab", "--matrix", "ci", "--budget", "600", "--json", "x y.json", "--strict"),
                *("--", "main", "HEAD"),
            ],
        ),
        (
            {"run-command": "python train.py --lr '0.1'; $(id)", "junit": "j.xml", "json": ""},
            ["ab", "--command", "python train.py --lr '0.1'; $(id)", "--junit", "j.xml"],
        ),
        (
            {"command": "check", "baseline": "base", "run": "2026", "matrix": "ci", "json": ""},
            ["check", "--baseline", "base", "--results", "results", "--", "2026"],
        ),
        (
            {"command": "limits", "matrix": "my.toml", "results": "out", "json": ""},
            ["limits", "--matrix", "my.toml", "--results", "out"],
        ),
        (
            {"command": "check", "baseline": "base", "options": "--confirm\n--margin\n0.02\n", "json": ""},
            ["check", "--baseline", "base", "--results", "results", "--confirm", "--margin", "0.02"],
        ),
        (
            {"matrix": "ci", "options": "--cell\nmy net; $(id)", "json": ""},
            ["ab", "--matrix", "ci", "--cell", "my net; $(id)"],
        ),
        (
            {"a": "--command=id", "matrix": "ci", "options": "--margin\n0.02", "json": ""},
            ["ab", "--matrix", "ci", "--margin", "0.02", "--", "--command=id"],
        ),
    ],
)
def test_inputs_become_the_words_of_the_command(tmp_path, inputs, expected):
    done = run_step(tmp_path, RECORDING, inputs)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["-P", "-m", "bench", *expected]


@pytest.mark.parametrize("code", ["1", "2", "3"])
def test_the_exit_code_is_that_of_the_command(tmp_path, code):
    assert run_step(tmp_path, RECORDING, {}, CODE=code).returncode == int(code)


@pytest.mark.parametrize("inputs", [{"command": "report"}, {"command": "ab", "b": "HEAD"}])
def test_inputs_that_fit_no_command_are_bad_use(tmp_path, inputs):
    done = run_step(tmp_path, RECORDING, inputs)
    assert done.returncode == 2 and done.stdout.startswith("::error title=dl-efficiency-bench::")


def test_a_revision_that_looks_like_an_option_is_none(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = run_step(tmp_path, REAL, {"a": "--help", "matrix": "ci"})
    assert done.returncode == 2 and "has no commit '--help'" in done.stderr


def test_a_package_of_the_repository_with_the_same_name_is_not_imported(tmp_path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("raise SystemExit(99)")
    done = run_step(tmp_path, REAL, {"command": "limits", "results": "none"})
    assert done.returncode == 2 and "none" in done.stderr


def test_a_name_of_two_lines_is_one_output(tmp_path):
    run_step(tmp_path, RECORDING, {"json": "a.json\nother=1"})
    assert (tmp_path / "output").read_text() == "json=a.jsonother=1\n"


def test_limits_of_a_real_run_fail_the_step_with_annotations_a_summary_and_files(tmp_path):
    request = {"limits": [parse_limit("latency_us <= 700").to_json()]}
    build(tmp_path / "results", Synthetic(("adam",), ("none",), request=request)).close()
    summary = tmp_path / "summary.md"
    done = run_step(
        tmp_path,
        REAL,
        {"command": "limits", "junit": "limits.xml"},
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "::error title=broken%3A infer" in done.stdout
    assert summary.read_text().startswith("## Benchmark limits")
    assert json.loads((tmp_path / "bench-findings.json").read_text())["exit_code"] == 1
    assert (tmp_path / "limits.xml").exists()
    assert (tmp_path / "output").read_text() == "json=bench-findings.json\n"


def test_no_input_stands_in_a_script_where_its_text_would_be_run():
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]


def test_every_input_is_described_and_used():
    text = (ROOT / "action.yml").read_text()
    for name, entry in ACTION["inputs"].items():
        assert entry["description"] and re.search(rf"inputs\.{name}\b", text), name


def test_the_repositorys_own_workflow_uses_inputs_that_the_action_has():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"] if step.get("uses") == "./"]
    assert steps and all(set(step["with"]) <= set(ACTION["inputs"]) for step in steps)
