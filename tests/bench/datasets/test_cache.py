"""The lock on a data set's cache: who waits says so, and nothing keeps it that does not hold it."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from bench.datasets.cache import LOCK, locked


def _wait(folder: Path, order: multiprocessing.SimpleQueue) -> None:
    with locked(folder, lambda: order.put("waits")):
        order.put("has it")


def test_who_waits_for_a_data_sets_cache_says_so_and_gets_it_from_a_forked_holder(tmp_path):
    context = multiprocessing.get_context("fork")
    order = context.SimpleQueue()
    with locked(tmp_path):
        # Forked while the lock is held: the child must neither have it nor keep it.
        process = context.Process(target=_wait, args=(tmp_path, order), daemon=True)
        process.start()
        assert order.get() == "waits"
    assert order.get() == "has it"
    process.join(20)
    assert process.exitcode == 0


def test_a_cache_that_cannot_be_written_raises_what_the_system_says(tmp_path, read_only):
    (tmp_path / "cache").mkdir()
    read_only(tmp_path / "cache")
    with pytest.raises(OSError), locked(tmp_path / "cache"):
        pass


def test_a_link_in_place_of_a_caches_lock_is_not_followed(tmp_path):
    mine = tmp_path / "mine"
    (tmp_path / LOCK).symlink_to(mine)
    with pytest.raises(OSError), locked(tmp_path):
        pass
    assert not mine.exists() and (tmp_path / LOCK).readlink() == mine
