"""The step on one device that several are held against: on one rank's share of the cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.records import Measurement, Request
from bench.stages import single
from tests.support.several_devices import WORKLOADS
from tests.support.stage_requests import request_of


@pytest.fixture
def cores() -> Iterator[tuple[int, ...]]:
    """Give the cores that this process may use, and have it use them and its threads again afterwards."""
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    yield tuple(sorted(before))
    os.sched_setaffinity(0, before)
    torch.set_num_threads(threads)


def measured(folder: Path, cores: tuple[int, ...], threads: int, devices: int) -> dict[str, Measurement]:
    place = folder / "mine.py"
    place.write_text(WORKLOADS.replace("PIDS", repr(str(folder / "pids"))))
    settings = {"workload": f"own:{place}:mlp", "of_devices": devices, "sample_s": 0.01, "batch_size": 16}
    request: Request = request_of("single", folder, settings, cpus=cores, threads=threads)
    return {entry.metric: entry for entry in single.run(request, folder)}


def test_one_device_of_a_cpu_has_its_share_of_threads_and_cores(tmp_path: Path, cores) -> None:
    found = measured(tmp_path, cores, threads=4, devices=2)
    assert (found["single_threads"].value, found["single_threads"].method) == (2, "2 of 4 threads")
    assert torch.get_num_threads() == 2
    assert len(os.sched_getaffinity(0)) == max(1, len(cores) // 2)


def test_the_step_is_that_of_the_whole_batch(tmp_path: Path, cores) -> None:
    found = measured(tmp_path, cores, threads=2, devices=2)
    assert found["effective_batch_size"].value == 16
    assert found["single_step_s"].value > 0 and found["single_step_s"].n >= 6
    assert found["peak_rss_bytes"].value > 0
