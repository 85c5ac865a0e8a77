"""What the tests of the documentation share: the whole site's pages, and a folder with a run to show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.metrics import METRICS
from bench.stages import STAGES
from docs.reference.pages import write_pages
from docs.reference.protocols import REGISTRIES
from reports.formats.table import FORMATS
from tests.support.pages import PAGES_FOLDER
from tests.support.synthetic_run import Synthetic, build


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all pages, generated ones too."""
    folder = tmp_path_factory.mktemp("site") / "pages"
    shutil.copytree(PAGES_FOLDER, folder, ignore=shutil.ignore_patterns("reference", "project", "examples"))
    write_pages(folder)
    return folder


@pytest.fixture
def unchanged_tables() -> Iterator[None]:
    """Take away again what plug-ins add to the tables in this process."""
    for table in REGISTRIES:
        table.rows()
    FORMATS.rows()
    STAGES.rows()
    tables: list[Any] = [*REGISTRIES, METRICS, FORMATS, STAGES]
    before = [set(table._rows) for table in tables]
    yield
    for table, names in zip(tables, before, strict=True):
        for added in set(table._rows) - names:
            del table._rows[added]


@pytest.fixture(scope="session")
def made_up_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made-up") / "results"
    build(folder, Synthetic()).close()
    return folder


@pytest.fixture
def folder_with_a_run(tmp_path: Path, made_up_results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: it has `results` with a made-up run, which commands can show."""
    shutil.copytree(made_up_results, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path
