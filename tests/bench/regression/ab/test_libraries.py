"""Two versions of a library as sides: each in an environment of its own, which is kept, and what differs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.regression.ab.libraries import difference_of, installed, python_with, requirements_of


def wheel(folder: Path, number: str, loops: int) -> str:
    """Write version `number` of the package `pace`, whose work takes so many loops; returns the file."""
    path = folder / f"pace-{number}-py3-none-any.whl"
    info = f"pace-{number}.dist-info"
    files = {
        "pace.py": f"def work():\n    return sum(range({loops}))\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: pace\nVersion: {number}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return str(path)


def test_two_lists_of_requirements_are_read():
    assert requirements_of("torch==2.12 numpy<3 / torch==2.13") == (
        ["torch==2.12", "numpy<3"],
        ["torch==2.13"],
    )


@pytest.mark.parametrize("text", ["torch==2.12", "a / b / c", "a / ", " / "])
def test_anything_but_two_lists_is_one_line(text):
    with pytest.raises(BenchError, match="must be two lists with ' / ' between"):
        requirements_of(text)


def test_what_an_interpreter_imports_is_listed_by_normalized_names():
    found = installed(sys.executable)
    assert found["numpy"] == version("numpy") and found["pytest-timeout"] == version("pytest_timeout")
    assert difference_of(sys.executable, sys.executable) == "both sides have the same packages"


@pytest.mark.slow
def test_an_environment_is_kept_while_what_it_was_made_of_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    said: list[str] = []
    pace = wheel(tmp_path, "1.0", 3)
    pythons = [python_with([pace], tmp_path, said.append) for _ in range(2)]
    assert pythons[0] == pythons[1] and len(said) == 1
    wheel(tmp_path, "1.0", 4)  # the same name, and other content
    assert python_with([pace], tmp_path, said.append) != pythons[0]
    found, here = dict(installed(pythons[0])), dict(installed(sys.executable))
    assert found.pop("pace") == "1.0"
    own = {"pip", "setuptools"}  # an environment brings these
    assert {name: found[name] for name in here if name not in own} == {
        name: here[name] for name in here if name not in own
    }
    code = "import bench, numpy, pace; print(pace.work())"
    done = subprocess.run([pythons[0], "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr


@pytest.mark.slow
def test_a_slower_version_of_a_library_is_found_and_both_versions_are_named(command, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text("import pace\npace.work()\n")
    old, new = (wheel(tmp_path, number, loops) for number, loops in (("1.0", 3_000_000), ("2.0", 6_000_000)))
    done = command(
        *("ab", "--with", f"{old} / {new}", "--command", "python work.py", "--metric", "processor_s"),
        *("--budget", "60"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "note: packages differ: pace 1.0 -> 2.0" in done.stdout
    assert "regression" in done.stdout and "python work.py processor_s" in done.stdout


@pytest.mark.slow
def test_two_versions_from_the_index_are_compared(command, tmp_path, monkeypatch):
    """A number that each version prints stands for its speed: it is known beforehand."""
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text("import six\nprint(six.__version__)\n")
    done = command(
        *("ab", "--with", "six==1.16.0 / six==1.17.0", "--command", "python work.py"),
        *("--printed", r"1\.([0-9]+)\.0", "--metric", "printed", "--budget", "60"),
    )
    if "an environment cannot be made" in done.stderr:
        pytest.skip("no package index can be reached here")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "packages differ: six 1.16.0 -> 1.17.0" in done.stdout
    assert "16.0 -> 17.0" in done.stdout and "worse by 6." in done.stdout
