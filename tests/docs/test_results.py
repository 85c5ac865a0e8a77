"""Pages of results say what their run measured, and keep what was written by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import yaml

from docs.results import backends, compression, optimizers, standard
from docs.results.measured import BY_HAND, Measured, listed, measured_by, write
from reports.frames.choices import QUALITY_POINTS
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


def test_the_fastest_backend_is_named_and_not_the_one_with_the_largest_ratio(tmp_path):
    made_up = Synthetic(optimizers=("adam",), compressions=("none", "prune-channels:0.5"), launches=6)
    build(tmp_path, made_up).close()
    measured = measured_by(tmp_path)
    table = measured.frames["tradeoff"]
    slow = (table["backend"] == "cpu-eager") & (table["compression"] != "none")
    fast = (table["backend"] == "onnxruntime") & (table["compression"] != "none")
    table.loc[slow, ["latency_s", "speedup"]] = 0.3e-3, 9.0
    table.loc[fast, ["latency_s", "speedup"]] = 0.2e-3, 2.0
    table.loc[slow | fast, ["loss_points", "same_timing"]] = 0.5, False
    table.loc[table["compression"] == "none", "latency_s"] = [2.7e-3, 0.4e-3]
    shown = compression.page(replace(measured, frames={**measured.frames, "tradeoff": table}))
    answer = shown.partition("## Do half of the channels pay?")[2].partition("##")[0]
    assert "200 µs on `onnxruntime`, " in answer and "cpu-eager" not in answer
    assert "the fastest `none` takes 400 µs on `onnxruntime`, 2.00×" in answer
    table.loc[fast, "loss_points"] = 3.0
    shown = compression.page(replace(measured, frames={**measured.frames, "tradeoff": table}))
    answer = shown.partition("## Do half of the channels pay?")[2].partition("##")[0]
    assert "300 µs on `cpu-eager`" in answer and "1.33×" in answer


def test_the_page_of_compression_says_who_pays(tmp_path):
    build(tmp_path, Synthetic(compressions=("none", "prune-magnitude:0.5"), seeds=(0, 1, 2))).close()
    shown = compression.page(measured_by(tmp_path))
    pays = shown.partition("## Who pays?")[2].partition("\n## ")[0]
    assert "Which classes lose quality?" in pays and "shirt" in pays


def test_a_new_page_is_named_in_the_site_and_an_old_one_gets_its_day(tmp_path: Path):
    index = Path("docs/pages/results/index.md")
    (tmp_path / index).parent.mkdir(parents=True)
    for path in (Path("mkdocs.yml"), index):
        (tmp_path / path).write_text((ROOT / path).read_text())
    for day in (date(2027, 1, 2), date(2027, 2, 3)):
        listed(tmp_path, "further", "Further", "what else is asked", day)
        listed(tmp_path, "backends", "Backends", "unused", day)
    pages = yaml.safe_load((tmp_path / "mkdocs.yml").read_text())["nav"]
    named = [entry for part in pages for entry in part.get("Results", [])]
    assert named.count({"Further": "results/further.md"}) == 1
    assert named.count({"Backends": "results/backends.md"}) == 1
    rows = (tmp_path / index).read_text().splitlines()
    assert rows.count("| [Further](further.md) | 3 February 2027 | what else is asked |") == 1
    question = "every backend, format and precision on three models"
    assert rows.count(f"| [Backends](backends.md) | 3 February 2027 | {question} |") == 1
    before = (ROOT / index).read_text().splitlines()
    assert len(rows) == len(before) + 1 and sum(row in before for row in rows) == len(before) - 1


def test_the_page_of_standard_answers_for_each_model_and_lists_its_cells(tmp_path):
    made_up = Synthetic(workloads=("digits", "letters"), optimizers=("adam",))
    build(tmp_path, made_up).close()
    measured = measured_by(tmp_path)
    shown = standard.page(measured)
    table = measured.frames["inference"]
    assert f"{len(table)} cells: " in shown and "2 skipped" in shown
    for workload in made_up.workloads:
        own = table[(table["workload"] == workload) & table["ranked"]]
        best = own[own["quality_loss_points"] <= QUALITY_POINTS].nsmallest(1, "latency_s").iloc[0]
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
    needed |= {f"digits/sgd:lr={rate}": (300.0, 310.0, 290.0) for rate in (0.01, 1)}
    build_trainings(tmp_path, needed, {}).close()
    measured = measured_by(tmp_path)
    shown = optimizers.page(measured)
    assert "## Across 2 workloads, by time" in shown
    assert shown.count("| 1 | momentum | 5/5 | ") == 2 and ", faster" in shown
    figures = dict(optimizers.figures(measured))
    assert set(figures) == {
        "optimizers-performance-profile.svg",
        *(f"optimizers-sensitivity-lr-{workload}.svg" for workload in ("digits", "letters")),
    }
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
