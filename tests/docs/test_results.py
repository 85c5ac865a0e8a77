"""Pages of results say what their run measured, and keep what was written by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from docs.results import backends, compression, optimizers, standard
from docs.results.measured import BY_HAND, Measured, measured_by, write
from tests.support.pages import PAGES_FOLDER, ROOT
from tests.support.synthetic_run import Synthetic, build
from tests.support.trainings import build_trainings


def of_frames(**frames: pd.DataFrame) -> Measured:
    return Measured("backends", date(2026, 11, 26), 4500.0, 2, ("AVX-512", "VNNI"), frames)


def cells_of(page: str) -> dict[tuple[str, ...], list[str]]:
    """Return the cells of each row of a table of backends, by backend and format."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return {tuple(row[:2]): row[2:] for row in rows}


@pytest.fixture(scope="module")
def runtimes() -> pd.DataFrame:
    return pd.read_csv(ROOT / "results" / "examples" / backends.CSV)


def test_the_page_of_backends_has_the_lines_that_its_table_says(runtimes):
    shown = backends.page(of_frames(runtimes=runtimes))
    kept = cells_of((PAGES_FOLDER / "results" / "backends.md").read_text())
    written = cells_of(shown)
    assert len(kept) > 20 and list(written) == list(kept)
    for place, entries in kept.items():
        for own, expected in zip(written[place], entries, strict=True):
            known = expected.strip("*").replace(".", "").isdigit()
            # The table has four digits of each number, which the page rounds to three.
            wanted = pytest.approx(float(expected.strip("*")), rel=1.1e-2) if known else expected
            assert (float(own.strip("*")) if known else own) == wanted, place
            assert own.startswith("**") == expected.startswith("**")
    assert "Measured on 26 November 2026 on two cores of a CPU with AVX-512, VNNI" in shown
    assert "one run of 75 minutes" in shown and "bench run --matrix backends" in shown


def test_cells_that_are_wrong_are_counted_apart_from_disturbed_ones(runtimes):
    invalid = (runtimes["backend"] == "onnxruntime") & (runtimes["format"] == "int8-static")
    wrong = runtimes.assign(
        state=runtimes["state"]
        .mask(invalid, "INVALID")
        .mask(~invalid & (runtimes["state"] == "INVALID"), "ok"),
        reason=runtimes["reason"].mask(invalid, "cosine 0.65 is below 0.98"),
    )
    shown = backends.page(of_frames(runtimes=wrong))
    assert f"The {invalid.sum()} INVALID cells give other answers than the model (cosine " in shown
    disturbed = wrong.assign(reason=wrong["reason"].mask(invalid, "timing: all 3 launches were disturbed"))
    shown = backends.page(of_frames(runtimes=disturbed))
    assert "INVALID" not in shown and f"{invalid.sum()} cells have no valid timing" in shown
    assert "| ? |" in shown


def test_the_page_of_compression_answers_and_lists_every_method(tmp_path):
    made_up = Synthetic(compressions=("none", "finetune", "prune-channels:0.5", "int8-static"))
    build(tmp_path, made_up).close()
    shown = compression.page(measured_by(tmp_path))
    for method in made_up.compressions[1:]:
        assert f"| `{method}` |" in shown
    assert "## Do half of the channels pay?" in shown and "## Is int8 faster?" in shown
    assert "| compression | quality loss (points) | smaller | `cpu-eager` | `onnxruntime` |" in shown


def test_the_page_of_standard_answers_for_each_model_and_lists_its_cells(tmp_path):
    made_up = Synthetic(workloads=("digits", "letters"), optimizers=("adam",))
    build(tmp_path, made_up).close()
    measured = measured_by(tmp_path)
    shown = standard.page(measured)
    table = measured.frames["inference"]
    assert f"{len(table)} cells: " in shown and "2 skipped" in shown
    for workload in made_up.workloads:
        own = table[(table["workload"] == workload) & table["ranked"]]
        best = own[own["quality_loss_points"] <= standard.MOST_LOST_POINTS].nsmallest(1, "latency_s").iloc[0]
        assert f"- {workload}: `{best['compression']}` on `{best['backend']}`, " in shown
        assert f"### {workload}, trained by adam" in shown
    assert shown.count("| compression | points lost | `cpu-eager` | `onnxruntime` |") == 2
    skipped = next(line for line in shown.splitlines() if line.startswith("| `int8-static` |"))
    assert "| – |" in skipped


def test_the_page_of_optimizers_has_the_ranking_with_verdicts_and_its_figures(tmp_path):
    needed = {
        f"{workload}/{optimizer}": tuple(factor * steps for steps in (500.0, 520.0, 490.0, 505.0, 515.0))
        for workload in ("digits", "letters")
        for optimizer, factor in (("sgd", 2.0), ("momentum", 1.0))
    }
    build_trainings(tmp_path, needed, {}).close()
    measured = measured_by(tmp_path)
    shown = optimizers.page(measured)
    assert "## Across 2 workloads, by time" in shown
    assert shown.count("| 1 | momentum | 5/5 | ") == 2 and ", faster" in shown
    figures = dict(optimizers.figures(measured))
    assert set(figures) == {"optimizers-performance-profile.svg"}
    assert all(f"(../examples/{name})" in shown and b"<svg" in content for name, content in figures.items())


def test_a_run_that_has_not_finished_has_no_page(tmp_path):
    build(tmp_path, Synthetic(), finish=False).close()
    with pytest.raises(ValueError, match="has not finished"):
        measured_by(tmp_path)


def test_what_was_written_by_hand_stays_when_a_page_is_written_again(tmp_path: Path):
    path = tmp_path / "page.md"
    write(path, "# first")
    path.write_text(f"{path.read_text()}\n{BY_HAND}\n\nMore.\n")
    for title in ("# second", "# third"):
        write(path, title)
        assert path.read_text() == f"{title}\n\n{BY_HAND}\n\nMore.\n"
