"""What a run is asked to be: which commands mean the same run, and what is told before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.execution.session import Prepared, RunOptions, prepare
from bench.plan import keys
from techniques.backends import hardware

AUTO = """
[train]
workload = "digits"
optimizer = "adam"

[infer]
compression = "none"
backend = "auto"
"""


@pytest.fixture
def prepared(tmp_path: Path):
    """Return a function that prepares the same matrix file, with auto, as a command anew would."""
    (tmp_path / "mine.toml").write_text(AUTO)

    def call(filter_text: str = "") -> Prepared:
        keys.device_kind.cache_clear()
        options = RunOptions(str(tmp_path / "mine.toml"), tmp_path / "results", filter_text)
        return prepare(options, fetch=False)

    yield call
    keys.device_kind.cache_clear()


def test_the_same_matrix_on_the_same_machine_is_the_same_run(prepared):
    assert prepared().identity == prepared().identity


def test_a_machine_where_another_backend_runs_makes_another_run_of_the_same_artifacts(prepared, monkeypatch):
    monkeypatch.setattr(hardware, "without_cpp_compiler", lambda: None)
    here = prepared()
    monkeypatch.setattr(hardware, "without_cpp_compiler", lambda: "needs a C++ compiler")
    there = prepared()
    assert there.identity != here.identity
    assert set(there.plan.stages) < set(here.plan.stages)


def test_another_cpu_makes_another_run_that_shares_nothing(prepared, monkeypatch):
    here = prepared()
    monkeypatch.setattr(keys, "kind_of_processor", lambda: "another CPU avx2")
    there = prepared()
    assert there.identity != here.identity
    assert set(there.plan.stages).isdisjoint(here.plan.stages)


def test_what_auto_leaves_out_is_a_note_of_the_run(prepared, monkeypatch):
    monkeypatch.setattr(hardware, "without_cpp_compiler", lambda: "needs a C++ compiler")
    note = '[infer] backend = "auto" leaves out cpu-inductor: needs a C++ compiler'
    assert note in prepared().notes
    assert note not in prepared("backend=cpu-eager").notes
