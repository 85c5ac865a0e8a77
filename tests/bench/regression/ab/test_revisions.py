"""Revisions of a real repository: worktrees come and go, environments are shared where requirements are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.regression.ab.revisions import environment, place_of
from bench.regression.revisions import Repository


def git(folder: Path, *arguments: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits on main and one more on a branch that is checked out."""
    top = tmp_path / "repository"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    for number in (1, 2):
        (top / "value.py").write_text(f"VALUE = {number}\n")
        git(top, "add", ".")
        git(top, "commit", "-q", "-m", f"{number}")
    git(top, "checkout", "-q", "-b", "change")
    (top / "value.py").write_text("VALUE = 3\n")
    git(top, "commit", "-q", "-a", "-m", "3")
    return top


def say(line: str) -> None:
    return


def value_in(place) -> str:
    code = "import value; print(value.VALUE)"
    return subprocess.run(
        [place.python, "-c", code], cwd=place.folder, env=place.environment, capture_output=True, text=True
    ).stdout.strip()


def test_each_side_imports_its_own_code(repository):
    (repository / "value.py").write_text("VALUE = 4\n")  # not committed
    with (
        place_of(Repository(repository), "main~1", say) as old,
        place_of(Repository(repository), "", say) as new,
    ):
        assert (value_in(old), value_in(new)) == ("1", "4")
        assert (old.name, new.name) == ("main~1", "work tree")
        assert old.python == new.python == sys.executable


def test_a_source_folder_comes_first(repository):
    (repository / "src").mkdir()
    (repository / "src" / "value.py").write_text("VALUE = 5\n")
    with place_of(Repository(repository), "", say) as new:
        found = subprocess.run(
            [new.python, "-c", "import value; print(value.VALUE)"],
            cwd=repository.parent,
            env=new.environment,
            capture_output=True,
            text=True,
        )
    assert found.stdout.strip() == "5"


@pytest.mark.parametrize("how", ["pth", "finder", "PYTHONPATH"])
def test_what_is_imported_from_another_folder_of_the_repository_is_each_sides_own(
    repository, tmp_path, monkeypatch, how
):
    """As of a project installed editable from python/: else both sides would import the work tree's."""
    package = repository / "python" / "inner"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("VALUE = 'old'\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "inner")
    (package / "__init__.py").write_text("VALUE = 'new'\n")
    packages = tmp_path / "site-packages"
    packages.mkdir()
    if how == "pth":
        (packages / "project.pth").write_text(f"import sys\n{package.parent}\n")
    elif how == "finder":
        mapping = f"MAPPING: dict[str, str] = {{'inner': '{package}'}}\nNAMESPACES = {{}}\n"
        (packages / "__editable___project_1_finder.py").write_text(mapping)
    else:
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setattr("site.getsitepackages", lambda: [str(packages)])
    code = "import inner; print(inner.VALUE)"
    found = []
    for revision in ("HEAD", ""):
        with place_of(Repository(repository), revision, say) as place:
            words = [place.python, "-c", code]
            done = subprocess.run(
                words, cwd=place.folder, env=place.environment, capture_output=True, text=True
            )
            found.append(done.stdout.strip())
    assert found == ["old", "new"]


def test_nothing_is_left_of_a_worktree(repository):
    with pytest.raises(ZeroDivisionError), place_of(Repository(repository), "main", say) as place:
        folder = place.folder
        assert folder.is_dir()
        raise ZeroDivisionError
    assert not folder.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert git(repository, "status", "--porcelain") == ""


def test_the_merge_base_with_main_is_what_a_change_is_compared_with(repository):
    assert Repository(repository).merge_base_with_main() == git(repository, "rev-parse", "main")
    git(repository, "branch", "-m", "main", "trunk")
    with pytest.raises(BenchError, match="no main branch to compare with"):
        Repository(repository).merge_base_with_main()


def test_what_is_no_revision_or_no_repository_is_one_line(repository, tmp_path):
    with pytest.raises(BenchError, match="has no commit 'v9'"):
        Repository(repository).commit("v9")
    with pytest.raises(BenchError, match="is in no git repository"):
        Repository(tmp_path)


def test_another_requirement_gets_an_environment_of_its_own_once(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    (repository / "requirements.txt").write_text("# nothing\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "requirements")
    (repository / "requirements.txt").write_text("# nothing more\n")
    said: list[str] = []
    pythons = []
    for _ in range(2):
        with place_of(Repository(repository), "HEAD", said.append) as old:
            pythons.append(old.python)
    assert pythons[0] == pythons[1] != sys.executable and len(said) == 1


def with_extra(repository: Path, *dependencies: str) -> None:
    text = f'[project]\nname = "a"\nversion = "1"\ndependencies = {list(dependencies)}\n'
    (repository / "pyproject.toml").write_text(
        text + "[project.optional-dependencies]\nfast = []\nslow = []\n"
    )


def test_an_environment_has_the_extras_that_are_asked_for(repository, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "bench.regression.ab.revisions.environment",
        lambda name, wanted, say: asked.append((name, wanted)) or sys.executable,
    )
    with_extra(repository)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "extras")
    with_extra(repository, "six")
    for extras in ((), ("slow", "fast")):
        with place_of(Repository(repository), "HEAD", say, extras) as old:
            tree = str(old.folder)
    (plain, _), (name, wanted) = asked
    assert wanted == [f"{tree}[slow,fast]"] and name == f"{plain}-fast-slow"
    with (
        pytest.raises(BenchError, match="--extra fats: the revision has no such extra; did you mean 'fast'"),
        place_of(Repository(repository), "HEAD", say, ["fats"]),
    ):
        pass


def test_extras_of_a_project_file_that_cannot_be_read_are_refused_in_one_line(repository):
    (repository / "pyproject.toml").write_text("[project\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "broken")
    (repository / "pyproject.toml").write_text("[project]\n")
    with (
        pytest.raises(BenchError, match=r"^--extra: the revision's pyproject\.toml cannot be read$"),
        place_of(Repository(repository), "HEAD", say, ["fast"]),
    ):
        pass


def test_a_version_of_the_project_is_no_requirement(repository):
    for version in ("1", "2"):
        text = f'[project]\nname = "a"\nversion = "{version}"\ndependencies = []\n'
        (repository / "pyproject.toml").write_text(text)
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", version)
    with place_of(Repository(repository), "HEAD~1", say) as old:
        assert old.python == sys.executable


def test_an_environment_beside_this_one_sees_its_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "none.txt").touch()
    python = environment("with", ["-r", str(tmp_path / "none.txt")], say, alongside=True)
    found = subprocess.run(
        [python, "-c", "import numpy; print(numpy.__file__)"], capture_output=True, text=True
    )
    assert "numpy" in found.stdout, found.stderr


def test_requirements_that_cannot_be_had_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(BenchError, match="an environment cannot be made: "):
        environment("wrong", ["-r", str(tmp_path / "missing.txt")], say)
