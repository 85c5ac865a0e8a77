import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.datasets import DATASETS, breast_cancer, diabetes, fetch, load, locate
from bench.errors import DataError


def together(train: np.ndarray, test: np.ndarray) -> list[tuple[float, ...]]:
    """All rows of both parts, in an order of their own."""
    return sorted(map(tuple, np.concatenate([train, test]).tolist()))


def test_diabetes_is_scikit_learns_own_all_of_it_once() -> None:
    from sklearn.datasets import load_diabetes

    table = load("diabetes")
    theirs = load_diabetes(scaled=False)
    assert (table.train_features.shape, table.test_features.shape) == ((295, 10), (147, 10))
    train = np.column_stack([table.train_features, table.train_answers])
    test = np.column_stack([table.test_features, table.test_answers])
    assert together(train, test) == sorted(map(tuple, np.column_stack([theirs.data, theirs.target]).tolist()))


def test_breast_cancer_is_scikit_learns_own_with_malignant_as_class_1() -> None:
    from sklearn.datasets import load_breast_cancer

    table = load("breast-cancer")
    theirs = load_breast_cancer()
    assert (table.train_features.shape, table.test_features.shape) == ((379, 30), (190, 30))
    train = np.column_stack([table.train_features, table.train_answers])
    test = np.column_stack([table.test_features, table.test_answers])
    malignant = (theirs.target == list(theirs.target_names).index("malignant")).astype(int)
    assert malignant.sum() == 212
    assert together(train, test) == sorted(map(tuple, np.column_stack([theirs.data, malignant]).tolist()))
    shares = [labels.mean() for labels in (table.train_answers, table.test_answers)]
    assert abs(shares[0] - shares[1]) < 1 / 190


@pytest.mark.parametrize("name", ["diabetes", "breast-cancer"])
def test_split_is_the_same_each_time(name: str) -> None:
    first, second = load(name), load(name)
    assert np.array_equal(first.test_features, second.test_features)
    assert np.array_equal(first.train_answers, second.train_answers)


def test_they_are_where_scikit_learn_is_and_as_big_as_the_table_says() -> None:
    cancer, patients = locate("breast-cancer"), locate("diabetes")
    assert cancer is not None
    assert patients is not None
    assert (fetch("breast-cancer"), fetch("diabetes")) == (cancer, patients)
    assert cancer.stat().st_size == DATASETS["breast-cancer"].size_bytes
    answers = patients.with_name(diabetes.ANSWERS.name)
    assert patients.stat().st_size + answers.stat().st_size == DATASETS["diabetes"].size_bytes


@pytest.mark.parametrize("name", ["diabetes", "breast-cancer"])
@pytest.mark.parametrize("attempt", [load, fetch])
def test_without_scikit_learn_the_error_says_to_install_it(
    name: str, attempt: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert locate(name) is None
    with pytest.raises(DataError, match=f"{name} is not installed; .*pip install scikit-learn"):
        attempt(name)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (breast_cancer.FILE, b"569,30,malignant,benign\n", "SHA-256"),
        (diabetes.FEATURES, gzip.compress(b"59 2 32.1\n", mtime=0), "SHA-256"),
        (diabetes.ANSWERS, b"no gzip", "cannot be read as gzip"),
    ],
)
def test_other_content_than_the_known_one_is_refused(
    file: breast_cancer.BundledFile, content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / file.name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}.*{reason}"):
        file.read(path)
