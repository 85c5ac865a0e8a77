"""What is written: a page that opens offline, Markdown, raw tables, plots."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from bench.analysis.statistics import launch_interval
from bench.errors import BenchError
from bench.formatting import format_value
from bench.records import Result
from bench.results.store import Store
from reports.content import gather
from reports.frames.view import read
from reports.grids.cell import bounds
from reports.prose.overheads import overhead_text
from reports.write import write, write_content
from tests.support.browser import FLAGS, browser_path
from tests.support.short_tables import short_tables
from tests.support.synthetic_run import Synthetic, build, key_of

HOSTILE = '<script>alert("1")</script> | `x` <img src=x onerror=alert(2)>'
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects what a page refers to, and whether its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes another tag"


@pytest.fixture(scope="module")
def page(report: Path) -> str:
    return (report / "report.html").read_text()


def test_page_refers_to_nothing_outside_itself(page: str) -> None:
    parsed = Page(page)
    assert parsed.references
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in parsed.references)
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "link" not in parsed.tags and "url(" not in markup and "@import" not in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)


def test_page_allows_only_its_own_script(page: str) -> None:
    import base64
    from hashlib import sha256

    script = page.rpartition("<script>")[2].split("</script>")[0]
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    assert Page(page).tags.count("script") == page.count("</script>") == 2
    assert page.count('<script type="application/json"') == 1, "the other holds data, which does not run"
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert f"'sha256-{digest}'" in policy[1].replace("&#39;", "'").replace("&#43;", "+")


def test_internal_links_lead_somewhere(page: str) -> None:
    targets = [reference[1:] for reference in Page(page).references if reference.startswith("#")]
    assert all(f'id="{target}"' in page for target in targets)


def test_what_a_run_noted_as_it_was_prepared_is_in_the_page_and_in_markdown(tmp_path: Path) -> None:
    note = "[infer] backend leaves out openvino: requires the package openvino"
    write(build(tmp_path, Synthetic(notes=(note,))), "run-1", tmp_path / "report")
    assert f"<dt>note</dt><dd>{note}</dd>" in (tmp_path / "report/report.html").read_text()
    assert "leaves out openvino" in (tmp_path / "report/report.md").read_text()


def test_reasons_are_escaped_everywhere(tmp_path: Path) -> None:
    made_up = Synthetic(
        skip_reason=HOSTILE,
        results={"train digits/adam": Result("failed", reason=HOSTILE, output_tail=HOSTILE)},
    )
    store = build(tmp_path / "store", made_up)
    folder = write(store, "run-1", tmp_path / "report").parent
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text()
        assert "alert(" in text.replace("\\", ""), name
        assert "<script>alert" not in text and "<img src=x" not in text, name
    lines = [line for line in (folder / "report.md").read_text().splitlines() if "alert" in line]
    for line in lines:
        assert "\\|" in line or "|" not in line


def test_skipped_reasons_and_invalid_cells_are_told(page: str, report: Path) -> None:
    for text in (page, (report / "report.md").read_text()):
        assert "cpu-eager has no kernel for int8-static" in text
        assert "INVALID" in text
        assert "censored" in text


def test_rows_can_be_traced_to_their_records(page: str) -> None:
    assert "bench show KEY" in page
    assert "digits/adam/none@onnxruntime" in page
    for label in ("train digits/adam/0", "evaluate digits/adam/0/none@onnxruntime 1", "step digits/adam"):
        assert key_of(label)[:12] in page


def test_numbers_stand_formatted_with_interval_and_mark(page: str, store: Store) -> None:
    key = key_of("infer digits/dense@onnxruntime 1")
    interval = launch_interval(store.launch_values("run-1", key, "latency_s"))
    assert f"{format_value('latency_s', interval.value)}†" in page
    assert bounds("latency_s", interval.low, interval.high) in page


def test_verdict_names_the_winners(page: str) -> None:
    verdict = page.split('class="verdict"')[1].split("</ul>")[0]
    assert "24 cells: 20 ok, 1 INVALID, 3 skipped" in verdict
    assert "momentum reached 90 % accuracy in the fewest steps (450) and in the least time" in verdict
    assert "accuracy was not reached by sgd" in verdict
    assert "1 seed, so no verdict on optimizers, which takes 3" in verdict
    assert "lowest latency within 1 point" in verdict
    assert "int8-static on onnxruntime" in verdict and "trained with adam" in verdict


def test_of_what_runs_as_the_same_verdict_names_the_uncompressed_model(tmp_path: Path) -> None:
    made_up = Synthetic(optimizers=("adam",), compressions=("finetune", "none", "prune-magnitude:0.5"))
    store = build(tmp_path / "store", made_up)
    page = (write(store, "run-1", tmp_path / "report")).read_text()
    store.close()
    verdict = page.split('class="verdict"')[1].split("</ul>")[0]
    assert "quality is none on onnxruntime (fp32)" in verdict
    assert "shares its timing with finetune on onnxruntime (fp32)" in verdict


def test_raw_tables_hold_the_stores_numbers(report: Path, store: Store) -> None:
    table = pd.read_csv(report / "tables" / "inference.csv", float_precision="round_trip").set_index("cell")
    stored = store.measurements("run-1")
    columns = {
        "lower_key": ("artifact_bytes", "artifact_compressed_bytes", "parameters", "dense_flops"),
        "evaluate_key": ("quality", "accuracy", "reference_agreement"),
        "infer_key": ("peak_tensor_bytes", "peak_rss_bytes"),
    }
    compared = 0
    for _, row in table[table["state"] == "ok"].iterrows():
        for key, metrics in columns.items():
            for metric in metrics:
                own = stored[(stored["stage_key"] == row[key]) & (stored["metric"] == metric)]
                assert row[metric] == own["value"].iloc[-1]
                compared += 1
        values = store.launch_values("run-1", row["infer_key"], "latency_s")
        assert row["latency_s"] == launch_interval(values).value
    assert compared == 20 * 9


def test_markdown_links_lead_to_files_that_exist(report: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (report / "report.md").read_text())
    assert any(link.endswith(".svg") for link in links) and any(link.endswith(".csv") for link in links)
    assert all((report / link).is_file() for link in links)


def test_every_plot_is_written_twice_and_is_readable(report: Path) -> None:
    stems = {path.stem for path in (report / "plots").iterdir()}
    assert stems == {
        "training-curves-digits",
        "time-to-target-digits",
        "step-parts-digits",
        "quality-latency-digits-batch-1",
        "quality-size-digits-batch-1",
        "who-pays-digits",
        "memory-digits",
        "pareto-fronts-digits-batch-1",
        "matrix-digits-batch-1",
        "roofline-digits-batch-1",
    }
    for stem in stems:
        assert (report / "plots" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        ElementTree.parse(report / "plots" / f"{stem}.svg")


def test_the_same_run_gives_the_same_bytes(report: Path, store: Store, tmp_path: Path) -> None:
    again = write(store, "run-1", tmp_path).parent
    files = [path.relative_to(report) for path in report.rglob("*") if path.is_file()]
    assert files and all((report / path).read_bytes() == (again / path).read_bytes() for path in files)
    assert {path.relative_to(again) for path in again.rglob("*") if path.is_file()} == set(files)


@pytest.mark.parametrize(
    "made_up",
    [
        Synthetic(optimizers=()),
        Synthetic(compressions=("int8-static",), backends=("cpu-eager",)),
        Synthetic(results={"": Result("failed", reason="no memory")}),
        Synthetic(results={"": Result("ok")}),
        Synthetic(results={"infer": Result("timeout", reason="after 60 s"), "step": Result("oom")}),
        Synthetic(optimizers=("adam",), workloads=("digits", "fashion"), seeds=(0, 1), batch_sizes=(1, 8)),
    ],
    ids=["empty", "all skipped", "all failed", "nothing measured", "no timings", "many axes"],
)
@pytest.mark.parametrize("finish", [True, False], ids=["finished", "running"])
def test_any_run_has_a_report(made_up: Synthetic, finish: bool, tmp_path: Path) -> None:
    store = build(tmp_path / "store", made_up, finish=finish)
    path = write(store, "run-1", tmp_path / "report")
    Page(path.read_text())
    assert "cells" in path.read_text()
    assert short_tables(store, "run-1") is not None


def test_a_run_without_launches_has_a_report(tmp_path: Path) -> None:
    source = build(tmp_path / "full", Synthetic())
    store = Store.open(tmp_path / "store")
    store.start_run("run-2", "i", "quick", "bench run", {}, source.stages("run-1"), source.cells("run-1"))
    page = write(store, "run-2", tmp_path / "report").read_text()
    assert "24 cells: 0 ok, 3 skipped, 21 pending" in page
    assert overhead_text(read(store, "run-2")) == "Overhead outside stages: not recorded yet."


def test_files_of_an_earlier_report_that_this_one_lacks_are_removed(tmp_path: Path) -> None:
    """As tables of a limit that the matrix no longer has, or raw tables of a run that grew too large."""
    store = build(tmp_path / "store", Synthetic(optimizers=("adam",)))
    content = gather(store, "run-1")
    store.close()
    folder = write_content(content, tmp_path / "run-1").parent
    for stale in ("tables/old.csv", "tables/old.parquet", "plots/old.png", "plots/old.svg"):
        (folder / stale).write_text("stale")
    for own in ("tables/notes.txt", "run.log"):
        (folder / own).write_text("not the report's")
    write_content(content, folder)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert not {name for name in names if "old" in name}
    assert {"tables/notes.txt", "run.log", "tables/inference.csv", "report.json"} <= names
    write_content(replace(content, left_out="too many cells", plots=()), folder)
    left = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert left == {"report.html", "report.md", "run.log", "tables", "tables/notes.txt"}


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    store = build(tmp_path / "store", Synthetic(optimizers=("adam",)))
    content = replace(gather(store, "run-1", figures=False), left_out="too many cells")
    store.close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.csv").write_text("1")
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / "tables").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match="not a link"):
        write_content(content, tmp_path / "run-1")
    assert (tmp_path / "elsewhere" / "mine.csv").read_text() == "1"


def test_short_tables_fit_a_terminal(store: Store) -> None:
    training, inference = short_tables(store, "run-1")
    assert [row[0] for row in training.rows] == ["momentum", "adam", "sgd"]
    assert training.rows[2][2] == "> 1,200 (censored)"
    assert "trained with momentum" in inference.title
    assert len(inference.rows) == 7
    assert ("int8-static", "cpu-eager") not in {row[:2] for row in inference.rows}  # the report says why
    assert all(
        isinstance(field, str) for table in (training, inference) for row in table.rows for field in row
    )
    assert all(len(row) == len(table.columns) for table in (training, inference) for row in table.rows)


def test_overhead_text_says_what_it_is_made_of(store: Store) -> None:
    first, *parts = overhead_text(read(store, "run-1")).splitlines()
    assert first.startswith("Overhead outside stages: 15.0 s")
    assert [part.split()[0] for part in parts] == ["imports", "start"]
    assert "83.3 %" in parts[0]


def test_importing_reports_loads_neither_pandas_nor_matplotlib() -> None:
    code = "import reports, sys; print({'pandas', 'matplotlib', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_reports_never_import_torch() -> None:
    code = "import reports.write, sys; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_page_renders_in_a_real_browser(report: Path, tmp_path: Path) -> None:
    browser = browser_path()
    if browser is None:
        pytest.skip("needs chromium or google-chrome")
    shot = tmp_path / "shot.png"
    flags = ["--headless", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
    url = (report / "report.html").as_uri()
    subprocess.run(
        [browser, *flags, f"--screenshot={shot}", url], check=True, timeout=120, capture_output=True
    )
    assert shot.stat().st_size > 10_000
