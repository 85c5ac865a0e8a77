import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.datasets import fetch, load, locate, movielens_100k
from bench.errors import DataError

LINES = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n943\t1682\t5\t878887116\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has no MovieLens and can reach none; returns where its cache will be."""
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(movielens_100k, "UPSTREAM", "http://127.0.0.1:9/ml-100k.zip")
    return tmp_path / "cache" / "movielens-100k"


@pytest.fixture
def give(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that writes what the user has in BENCH_DATA_DIR."""

    def write(content: str) -> Path:
        path = tmp_path / "own" / "movielens-100k" / "u.data"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "own"))
        return path

    return write


@pytest.fixture
def upstream(
    cache: Path, tmp_path: Path, serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """GroupLens, serving an archive with three ratings."""
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w") as archive:
        archive.writestr("ml-100k/u.data", LINES)
        archive.writestr("ml-100k/README", "no redistribution")
    address = f"{serve(tmp_path)}ml-100k.zip"
    monkeypatch.setattr(movielens_100k, "UPSTREAM", address)
    return address


def test_a_file_of_the_users_is_read_with_numbers_from_0(give: Callable[[str], Path]) -> None:
    path = give(LINES)
    assert locate("movielens-100k") == path
    assert fetch("movielens-100k") == path
    ratings = load("movielens-100k")
    assert ratings.users.tolist() == [195, 185, 942]
    assert ratings.items.tolist() == [241, 301, 1681]
    assert ratings.stars.tolist() == [3, 3, 5]
    assert ratings.times.tolist() == [881250949, 891717742, 878887116]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "columns"),
        ("1\t2\t3\n", "3 columns"),
        ("user\titem\tstars\ttime\n", "expected lines of user"),
        ("944\t1\t3\t0\n", "users are 944 to 944, expected 1 to 943"),
        ("1\t0\t3\t0\n", "items are 0 to 0"),
        ("1\t1\t6\t0\n", "stars are 6 to 6"),
        ("1\t1\t4\t0\n1\t1\t5\t9\n", "rated an item twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_file_of_another_form_is_refused(give: Callable[[str], Path], content: str, reason: str) -> None:
    path = give(content)
    with pytest.raises(DataError, match=f"{path}.*{reason}"):
        fetch("movielens-100k")


def test_where_it_cannot_be_had_the_error_names_the_ways(cache: Path) -> None:
    assert locate("movielens-100k") is None
    with pytest.raises(DataError, match=r"is unavailable: set BENCH_DATA_DIR.*127\.0\.0\.1:9"):
        fetch("movielens-100k")
    with pytest.raises(DataError, match="bench data get movielens-100k"):
        load("movielens-100k")


def test_it_is_got_from_upstream_once(upstream: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movielens_100k, "CONTENT_SHA256", hashlib.sha256(LINES.encode()).hexdigest())
    assert fetch("movielens-100k") == cache / "u.data"
    monkeypatch.setattr(movielens_100k, "UPSTREAM", "http://127.0.0.1:9/")
    assert fetch("movielens-100k") == cache / "u.data"
    assert load("movielens-100k").stars.tolist() == [3, 3, 5]
    assert not list(cache.glob("*.partial"))


def test_other_content_from_upstream_is_refused_and_not_kept(upstream: str, cache: Path) -> None:
    with pytest.raises(DataError, match=r"u\.data has SHA-256 .*, expected 06416e59"):
        fetch("movielens-100k")
    assert locate("movielens-100k") is None


def test_a_cached_file_that_was_changed_is_refused(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "u.data").write_text(LINES)
    with pytest.raises(DataError, match=f"{cache}.*SHA-256"):
        load("movielens-100k")
