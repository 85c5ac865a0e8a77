"""A run's log: whole lines in the run's folder, on stderr if asked for, never a reason for a run to end."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from bench.errors import StoreError
from bench.execution import run_log
from bench.execution.run_log import RUN_LOG, SHOWN, logged_to, shown

RUN = "20260101-000001-ci"
LOG = logging.getLogger("bench.execution.executor")


def test_lines_are_added_to_what_an_interrupted_run_logged(tmp_path):
    for turn in range(2):
        with logged_to(tmp_path, RUN):
            LOG.info("worker %d: train digits", turn)
    LOG.info("after the run")
    first, second = (tmp_path / RUN / RUN_LOG).read_text().splitlines()
    assert first.endswith(" INFO bench.execution.executor: worker 0: train digits") and "worker 1" in second


def test_a_record_is_one_line_whatever_is_in_it(tmp_path):
    with logged_to(tmp_path, RUN):
        LOG.info("worker 1: %s", "a\nb\x1b[31m\u202e\udce9")
    (line,) = (tmp_path / RUN / RUN_LOG).read_text().splitlines()
    assert line.endswith(r"worker 1: a b\x1b[31m\u202e\udce9")


def test_a_folder_that_cannot_be_written_has_no_log_and_ends_no_run(tmp_path, read_only, capsys):
    read_only(tmp_path)
    with logged_to(tmp_path, RUN):
        LOG.warning("goes on")
    assert not (tmp_path / RUN).exists() and capsys.readouterr() == ("", "")


def test_a_full_disk_ends_the_log_and_not_the_run(tmp_path, monkeypatch, capsys):
    full = Path("/dev/full").open("w")  # noqa: SIM115
    monkeypatch.setattr(run_log, "_open", lambda path: full)
    with logged_to(tmp_path, RUN):
        for _ in range(3):
            LOG.warning("goes on")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", [RUN, f"{RUN}/{RUN_LOG}"])
def test_a_link_in_its_place_is_refused(tmp_path, name):
    results, mine = tmp_path / "results", tmp_path / "mine"
    (results / name).parent.mkdir(parents=True)
    (results / name).symlink_to(mine)
    with pytest.raises(StoreError, match="not a link"), logged_to(results, RUN):
        pass
    assert not mine.exists()


def test_nothing_is_written_into_another_file_of_the_same_content_or_a_pipe(tmp_path):
    mine, log = tmp_path / "mine", tmp_path / RUN / RUN_LOG
    mine.write_text("mine")
    log.parent.mkdir()
    log.hardlink_to(mine)
    with logged_to(tmp_path, RUN):
        LOG.info("not here")
    assert mine.read_text() == "mine"
    log.unlink()
    os.mkfifo(log)
    with logged_to(tmp_path, RUN):
        LOG.info("not here, and nobody waits for a reader")


def test_the_same_lines_are_shown_once_on_request_but_those_that_a_run_prints_itself(tmp_path, capsys):
    with shown(), shown(), logged_to(tmp_path, RUN):
        LOG.info("worker 1: train digits")
        logging.getLogger(SHOWN).info("train digits: ok")
    errors = capsys.readouterr().err
    assert errors.count("worker 1: train digits") == 1 and "ok" not in errors
    assert "train digits: ok" in (tmp_path / RUN / RUN_LOG).read_text()


def test_nothing_is_shown_without_it_and_loggers_are_left_as_they_were(tmp_path, capsys):
    logger = logging.getLogger("bench")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with shown(verbose=False), logged_to(tmp_path, RUN):
        LOG.info("worker 1: train digits")
    assert capsys.readouterr() == ("", "")
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
