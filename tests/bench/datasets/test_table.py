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


def test_listing_and_locating_import_no_array_library(cache: Path) -> None:
    program = (
        "import sys, bench.datasets as d\n"
        "[d.locate(name) for name in d.DATASETS]\n"
        "print({'torch', 'numpy', 'pandas', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_importing_the_table_takes_under_20_ms() -> None:
    program = (
        "import time; started = time.perf_counter()\n"
        "import bench.datasets\n"
        "print(time.perf_counter() - started)"
    )
    seconds = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout)
        for _ in range(5)
    ]
    assert min(seconds) < 0.020
