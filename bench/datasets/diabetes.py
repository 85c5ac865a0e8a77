"""The 442 diabetes patients that are bundled with scikit-learn, as a fixed random split of 295 to 147.

Efron, Hastie, Johnstone & Tibshirani 2004, "Least Angle Regression": age, sex, body mass index, blood
pressure and six measures of blood serum; the answer is the progression of the disease one year later, 25 to
346. Both parts keep the file's order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.datasets.sklearn_bundled import BundledFile, Table

FEATURES = BundledFile(
    "diabetes",
    "diabetes_data_raw.csv.gz",
    "86badf50b4f9436ddd1e497dc0ae1b93166f8120221ee7dca4634fe849f3be7c",
)
ANSWERS = BundledFile(
    "diabetes", "diabetes_target.csv.gz", "244713a551f62a291a354212d8a048adec6cb1244b2bc44e66a0698f5006d26d"
)
TEST_PATIENTS = 147
SPLIT_SEED = 0

locate = FEATURES.locate


def fetch(say: Callable[[str], None]) -> Path:
    """Return where the features are, beside the answers; there is nothing to download."""
    ANSWERS.read(ANSWERS.locate())
    return FEATURES.fetch(say)


def load() -> Table:
    """Return the patients as they were measured; raises DataError where a file is not there or is another."""
    import numpy as np

    features, answers = (
        np.loadtxt(file.read(file.locate()).decode().splitlines(), dtype=np.float64)
        for file in (FEATURES, ANSWERS)
    )
    test = np.zeros(len(answers), dtype=np.bool_)
    test[np.random.RandomState(SPLIT_SEED).permutation(len(answers))[:TEST_PATIENTS]] = True
    return Table(features[~test], answers[~test], features[test], answers[test])
