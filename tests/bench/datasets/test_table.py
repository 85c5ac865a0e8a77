import subprocess
import sys
from pathlib import Path

import pytest

from bench.datasets import DATASETS, fashion_mnist, get
from bench.errors import DataError


def test_typo_names_the_nearest_data_set() -> None:
    with pytest.raises(DataError, match="unknown data set 'fashion_mnist'; did you mean 'fashion-mnist'"):
        get("fashion_mnist")


def test_size_in_the_table_is_that_of_the_files() -> None:
    assert DATASETS["fashion-mnist"].size_bytes == sum(file.size_bytes for file in fashion_mnist.FILES)


HEAVY = {"torch", "numpy", "pandas", "sklearn", "scipy", "pydantic", "rich", "typer", "sqlalchemy"}


def imported_by(program: str) -> set[str]:
    lines = f"import sys\n{program}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_listing_and_locating_import_no_array_library(cache: Path) -> None:
    listing = "import bench.datasets as d\n[d.locate(name) for name in d.DATASETS]"
    assert not {"torch", "numpy", "pandas", "sklearn", "scipy"} & imported_by(listing)


def test_importing_the_table_imports_no_library_and_no_data_set() -> None:
    imported = imported_by("import bench.datasets")
    assert not HEAVY & imported
    assert {name for name in imported if name.startswith("bench.datasets")} == {"bench.datasets"}
