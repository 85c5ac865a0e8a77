"""A part that is not there, or a filter where none applies, is told before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.selftest import print_part


@pytest.mark.parametrize(
    ("part", "filter_text", "told"),
    [
        ("runtime", "", r"unknown part 'runtime'.*runtimes"),
        ("loop", "workload=digits", r"--filter applies to the part runtimes only, not to loop"),
        ("all", "workload=digits", r"--filter applies to the part runtimes only, not to all"),
    ],
)
def test_what_no_part_takes_is_told_at_once(part: str, filter_text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=told):
        print_part(part, tmp_path, filter_text)
