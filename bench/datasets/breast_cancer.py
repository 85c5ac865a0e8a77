"""The 569 fine-needle aspirates that are bundled with scikit-learn, as a fixed split of 379 to 190.

Breast Cancer Wisconsin (Diagnostic), Street, Wolberg & Mangasarian 1993: 30 measures of the nuclei in an
image; class 1 is malignant (212 cases), 0 benign, the other way round than in the file. The split is
stratified; both parts keep the file's order.
"""

from __future__ import annotations

from bench.datasets.sklearn_bundled import BundledFile, Table, stratified_test_mask

FILE = BundledFile(
    "breast-cancer", "breast_cancer.csv", "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"
)
TEST_CASES = 190
SPLIT_SEED = 0

locate = FILE.locate
fetch = FILE.fetch


def load() -> Table:
    """Return the cases as they were measured; raises DataError where the file is not there or is another."""
    import numpy as np

    lines = FILE.read(locate()).decode().splitlines()[1:]
    rows = np.loadtxt(lines, delimiter=",", dtype=np.float64)
    malignant = 1 - rows[:, -1].astype(np.int64)
    test = stratified_test_mask(malignant, TEST_CASES, SPLIT_SEED)
    return Table(rows[~test, :-1], malignant[~test], rows[test, :-1], malignant[test])
