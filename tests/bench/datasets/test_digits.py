import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from bench.datasets import DATASETS, digits, fetch, load, locate
from bench.errors import DataError


def test_digits_are_scikit_learns_own_all_of_them_once() -> None:
    from sklearn.datasets import load_digits

    images = load("digits")
    theirs = load_digits()
    assert images.train_images.shape == (1_437, 8, 8)
    assert images.test_images.shape == (360, 8, 8)
    assert images.train_images.dtype == np.uint8
    assert images.test_labels.dtype == np.int64
    assert (images.train_images.min(), images.train_images.max()) == (0, 16)
    ours = np.concatenate([images.train_images, images.test_images]).reshape(-1, 64)
    labels = np.concatenate([images.train_labels, images.test_labels])
    expected = sorted(map(tuple, np.column_stack([theirs.data.astype(int), theirs.target]).tolist()))
    assert sorted(map(tuple, np.column_stack([ours, labels]).tolist())) == expected


def test_split_is_stratified_to_less_than_one_image() -> None:
    images = load("digits")
    test = np.bincount(images.test_labels)
    every = test + np.bincount(images.train_labels)
    assert np.abs(test - every * 360 / 1_797).max() < 1


def test_split_is_the_same_for_ever() -> None:
    images = load("digits")
    found = hashlib.sha256(images.test_images.tobytes() + images.test_labels.tobytes()).hexdigest()
    assert found == "68780132faf1ab8eda675b235eafc4a5b8aa07f7bb9047f01d3861532936c129"
    again = load("digits")
    assert np.array_equal(images.train_images, again.train_images)


def test_digits_are_where_scikit_learn_is() -> None:
    path = locate("digits")
    assert path is not None
    assert path.name == "digits.csv.gz"
    assert fetch("digits") == path
    assert path.stat().st_size == DATASETS["digits"].size_bytes


def test_without_scikit_learn_the_error_says_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert locate("digits") is None
    for attempt in (load, fetch):
        with pytest.raises(DataError, match="pip install scikit-learn"):
            attempt("digits")


def test_other_content_than_the_known_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "digits.csv.gz"
    monkeypatch.setattr(digits, "locate", lambda: path)
    for content, reason in ((gzip.compress(b"0,1\n"), "SHA-256"), (b"no gzip", "cannot be read as gzip")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{path}.*{reason}"):
            load("digits")
