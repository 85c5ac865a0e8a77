"""The package as it is installed: its version, its licence, and files that are not Python."""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from bench import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("bench", "reports", "techniques")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

BUILD = "import setuptools.build_meta as build; print(build.build_wheel('dist'))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel of this source, built in a copy, since a build leaves files in the source folder."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def test_the_package_has_the_version_that_the_code_states(metadata):
    assert metadata["Version"] == __version__


def test_version_prints_it(command):
    assert command("--version").stdout == f"bench {__version__}\n"


def test_the_version_is_read_without_importing_anything():
    text = (ROOT / "bench" / "__init__.py").read_text()
    # A plain string: setuptools reads it from the source, and imports nothing.
    assert f'\n__version__ = "{__version__}"\n' in text


def test_the_licence_is_named_and_its_text_is_in_the_package(wheel, metadata):
    assert metadata["License-Expression"] == "Apache-2.0"
    (name,) = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
    assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()
    # An SPDX expression and a classifier of a licence exclude each other (PEP 639).
    assert not [line for line in metadata.get_all("Classifier") if line.startswith("License")]


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    inside = set(wheel.namelist())
    for package in PACKAGES:
        files = [path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert ROOT / package / "py.typed" in files
        missing = {path.relative_to(ROOT).as_posix() for path in files} - inside
        assert not missing


def test_classifiers_name_each_python_that_is_supported():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert named[0] == oldest and named == sorted(named, key=lambda version: int(version.partition(".")[2]))
    assert "Operating System :: POSIX :: Linux" in PROJECT["classifiers"]


def test_the_citation_names_the_same_title_and_version():
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["title"] == PROJECT["name"] and citation["license"] == PROJECT["license"]
    assert citation["version"] == __version__
    assert citation["message"] and citation["abstract"] and citation["authors"]


def test_the_changelog_has_the_versions_newest_first():
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    versions = [line.split("[")[1].partition("]")[0] for line in lines if line.startswith("## [")]
    assert versions[0] == "Unreleased" and versions[1] == __version__


def test_continuous_integration_runs_the_oldest_and_the_newest_python_and_the_lowest_dependencies():
    import yaml

    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert jobs["test"]["strategy"]["matrix"]["python"] == [named[0], named[-1]]
    assert any("--resolution lowest-direct" in step.get("run", "") for step in jobs["lowest"]["steps"])
    assert "performance" in jobs
    # A stage that fails in one part must not cost the report of all.
    assert "!cancelled()" in jobs["standard-report"]["if"]
