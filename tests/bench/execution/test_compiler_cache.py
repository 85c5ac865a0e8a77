"""Compiled code is kept by what it was compiled from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.execution.compiler_cache import compiler_cache


@pytest.fixture
def cached(tmp_path: Path) -> dict[str, str]:
    found = compiler_cache(tmp_path / "cache")
    if not found:
        pytest.skip("needs ccache and a C++ compiler")
    return found


def compile_twice(environment: dict[str, str], folder: Path, sources: tuple[str, str]) -> str:
    """Compile one file with two contents; return ccache's count of calls it answered from the cache."""
    for content in sources:
        (folder / "code.cpp").write_text(content)
        command = [environment["CXX"], "-c", "code.cpp", "-o", "code.o"]
        subprocess.run(command, cwd=folder, env=os.environ | environment, check=True)
    ccache = Path(environment["CXX"]).resolve()
    told = subprocess.run(
        [ccache, "--print-stats"], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    counts = dict(line.split("\t") for line in told.stdout.splitlines())
    return f"{int(counts['direct_cache_hit']) + int(counts['preprocessed_cache_hit'])} of 2"


def test_the_same_source_is_compiled_once(cached, tmp_path):
    source = "int answer() { return 42; }\n"
    assert compile_twice(cached, tmp_path, (source, source)) == "1 of 2"
    assert (tmp_path / "code.o").is_file()


def test_another_source_is_compiled_anew(cached, tmp_path):
    assert compile_twice(cached, tmp_path, ("int a() { return 1; }\n", "int a() { return 2; }\n")) == "0 of 2"


def test_without_a_compiler_nothing_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiler_cache(tmp_path) == {}
