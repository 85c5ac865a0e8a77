"""A run may be named by its id, or by the path of its folder or of a results folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.results.places import place_of

RUN = "20260101-000001-quick"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "results" / RUN).mkdir(parents=True)
    (tmp_path / "results" / "bench.sqlite").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_id_is_of_the_results_folder(folder: Path) -> None:
    here = Path("here")
    assert place_of("2026", here) == (here, "2026") and place_of("latest", here) == (here, "latest")
    assert place_of("n" * 5000, here) == (here, "n" * 5000)


def test_a_path_is_a_results_folder_or_a_run_in_one(folder: Path) -> None:
    results = Path("results")
    assert place_of("results", Path("here")) == (results, "")
    assert (
        place_of(f"results/{RUN}", Path("here"))
        == place_of(f"results/{RUN}/", Path("here"))
        == (results, RUN)
    )
    assert place_of(f"results/{RUN[:8]}", Path("here")) == (results, RUN[:8])
    assert place_of(str(folder / "results"), Path("here")) == (folder / "results", "")


@pytest.mark.parametrize("path", ["elsewhere/run", "./", "n/" + "n" * 5000, "results/run/further"])
def test_a_path_without_a_store_is_refused_in_one_line(folder: Path, path: str) -> None:
    with pytest.raises(BenchError, match="must be a results folder, or the folder of a run"):
        place_of(path, Path("results"))


def test_with_a_shared_store_the_end_of_a_path_that_looks_like_an_id_is_a_run(folder: Path) -> None:
    url = "postgresql://bench@db.example.org/bench"
    assert place_of(f"other/{RUN}", Path("here"), url) == (Path("other"), RUN)
    assert place_of("other/results", Path("here"), url) == (Path("other/results"), "")
    assert place_of(RUN, Path("here"), url) == (Path("here"), RUN)
