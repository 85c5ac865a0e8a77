import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.datasets import fashion_mnist, fetch, idx, load, locate, sources
from bench.errors import DataError

Write = Callable[[Path], Path]
FIRST = "train-images-idx3-ubyte"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_real_images_have_ten_balanced_classes(
    cache: Path, real_fashion_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA_DIR", str(real_fashion_mnist))
    images = load("fashion-mnist")
    assert images.train_images.shape == (60_000, 28, 28)
    assert images.test_images.shape == (10_000, 28, 28)
    assert images.train_images.dtype == np.uint8
    assert images.train_labels.dtype == np.int64
    assert np.bincount(images.train_labels).tolist() == [6_000] * 10
    assert np.bincount(images.test_labels).tolist() == [1_000] * 10
    # The first test image is an ankle boot, the second a pullover.
    assert images.test_labels[:2].tolist() == [9, 2]
    # Mean and deviation that the literature normalizes by.
    assert images.train_images.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert images.train_images.std() / 255 == pytest.approx(0.3530, abs=1e-4)


def test_real_data_set_is_hashed_and_unpacked_once(
    cache: Path, real_fashion_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA_DIR", str(real_fashion_mnist))
    first = load("fashion-mnist")
    monkeypatch.setattr(idx, "hashlib", None)
    monkeypatch.setattr(idx, "gzip", None)
    assert np.array_equal(load("fashion-mnist").test_images, first.test_images)


def test_data_dir_comes_before_system_folder_before_cache(
    small: Write, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locate("fashion-mnist") is None
    small(cache)
    assert locate("fashion-mnist") == cache
    small(fashion_mnist.SYSTEM_FOLDER)
    assert locate("fashion-mnist") == fashion_mnist.SYSTEM_FOLDER
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "mine"))
    within = small(tmp_path / "mine" / "fashion-mnist")
    assert locate("fashion-mnist") == within
    itself = small(tmp_path / "mine")
    assert locate("fashion-mnist") == itself


def test_cache_is_in_xdg_cache_home_unless_told_otherwise(
    small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    folder = small(tmp_path / "xdg" / "dl-efficiency-bench" / "fashion-mnist")
    assert locate("fashion-mnist") == folder
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = small(tmp_path / "home" / ".cache" / "dl-efficiency-bench" / "fashion-mnist")
    assert locate("fashion-mnist") == folder


def test_folder_that_lacks_a_file_is_passed_over(small: Write, cache: Path) -> None:
    (small(fashion_mnist.SYSTEM_FOLDER) / f"{FIRST}.gz").unlink()
    assert locate("fashion-mnist") is None
    small(cache)
    assert locate("fashion-mnist") == cache


def test_data_dir_that_is_not_there_or_not_whole_is_an_error_and_one_for_other_data_is_not(
    small: Write, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    monkeypatch.setenv("BENCH_DATA_DIR", str(mine))
    with pytest.raises(DataError, match=f"BENCH_DATA_DIR={mine}: no such folder"):
        locate("fashion-mnist")
    (small(mine) / f"{FIRST}.gz").unlink()
    with pytest.raises(DataError, match=f"{mine} lacks {FIRST} "):
        load("fashion-mnist")
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("BENCH_DATA_DIR", str(other))
    small(cache)
    assert locate("fashion-mnist") == cache


@pytest.mark.parametrize("packed", [True, False])
def test_wrong_content_is_never_loaded_even_where_the_right_one_is_cached(
    small: Write, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    mine = small(tmp_path / "mine")
    monkeypatch.setenv("BENCH_DATA_DIR", str(mine))
    load("fashion-mnist")
    content = bytearray(gzip.decompress((mine / f"{FIRST}.gz").read_bytes()))
    content[-1] ^= 1
    wrong = mine / (f"{FIRST}.gz" if packed else FIRST)
    wrong.write_bytes(gzip.compress(content) if packed else content)
    expected = fashion_mnist.FILES[0].sha256
    for attempt in (load, fetch):
        with pytest.raises(DataError, match=rf"{wrong}: its content has SHA-256 \w+, expected {expected}"):
            attempt("fashion-mnist")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>log in</html>", "cannot be read: Not a gzipped file"),
        (gzip.compress(b"short", mtime=0), "holds 5 bytes unpacked, expected 44"),
        (gzip.compress(bytes(10_000_000), mtime=0), "holds more than 44 bytes unpacked, expected 44"),
        (gzip.compress(bytes(44), mtime=0)[:-9], "cannot be read: Compressed file ended"),
    ],
)
def test_broken_file_is_named_with_what_is_wrong(
    small: Write, cache: Path, content: bytes, reason: str
) -> None:
    path = small(fashion_mnist.SYSTEM_FOLDER) / f"{FIRST}.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}: {reason}"):
        load("fashion-mnist")


def test_packed_files_are_unpacked_into_the_cache_once(
    small: Write, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(fashion_mnist.SYSTEM_FOLDER)
    first = load("fashion-mnist")
    assert names(cache) == sorted([*(file.name for file in fashion_mnist.FILES), "verified.json"])
    monkeypatch.setattr("gzip.open", lambda path: pytest.fail(f"unpacked {path} again"))
    monkeypatch.setattr("hashlib.sha256", lambda content: pytest.fail("hashed again"))
    again = load("fashion-mnist")
    assert np.array_equal(first.train_images, again.train_images)
    assert np.array_equal(first.test_labels, again.test_labels)


def test_cache_that_cannot_be_written_does_not_hinder_loading(
    small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(fashion_mnist.SYSTEM_FOLDER)
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "file" / "within"))
    assert load("fashion-mnist").train_images.shape == (7, 2, 2)


def test_load_never_goes_to_the_network(small: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "download", lambda *args, **kwargs: pytest.fail("went to the network"))
    with pytest.raises(DataError, match="bench data get fashion-mnist"):
        load("fashion-mnist")
