"""`bench export`: each format is read back by what reads it; names act nowhere; mistakes are one line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench.formatting import visible
from bench.interchange.exports import export_format, export_formats
from reports.frames.run import read_frames
from reports.frames.view import read
from tests.support.synthetic_run import Synthetic, build

HOSTILE = ("<script>alert(1)", "\x1b[31mred", "\u202egpj.exe", "=cmd()", "n" * 300, "日本\"'")
OF_TEXT = ("csv", "json", "markdown", "latex", "html", "pytest-benchmark")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    build(folder, Synthetic(optimizers=("adam",))).close()
    return folder


@pytest.fixture(scope="module")
def frames(results: Path) -> dict[str, pd.DataFrame]:
    from bench.results.store import Store

    store = Store.open(results, create=False)
    found = read_frames(read(store, "run-1"))
    store.close()
    return found


def test_every_format_that_the_help_names_is_there(command):
    formats = export_formats()
    assert {"csv", "parquet", "json", "markdown", "latex", "excel", "mlflow", "tensorboard"} <= set(formats)
    text = command("export", "--help").stdout
    built_in = set(formats) - {"figures"}
    assert all(name in text for name in built_in), built_in
    assert all(format_.about for format_ in formats.values())


def test_csv_and_parquet_have_a_file_for_each_table(command, results, frames, tmp_path):
    for name in ("csv", "parquet"):
        done = command("export", "--format", name, "--to", tmp_path / name, "--results", results)
        assert done.returncode == 0, done.stderr
        assert f"wrote {tmp_path / name} ({len(frames)} files)" in done.stdout
        assert {path.name for path in (tmp_path / name).iterdir()} == {f"{table}.{name}" for table in frames}
    for table, frame in frames.items():
        again = pd.read_parquet(tmp_path / "parquet" / f"{table}.parquet")
        pd.testing.assert_frame_equal(again, frame)
    inference = pd.read_csv(tmp_path / "csv" / "inference.csv")
    assert inference["latency_s"].dropna().tolist() == frames["inference"]["latency_s"].dropna().tolist()


def test_one_table_goes_to_a_file_or_to_standard_output(command, results, frames, tmp_path):
    done = command("export", "--format", "csv", "--table", "inference", "--results", results)
    assert list(pd.read_csv(io.StringIO(done.stdout))["cell"]) == list(frames["inference"]["cell"])
    file = tmp_path / "cells.parquet"
    command("export", "--format", "parquet", "--table", "inference", "--to", file, "--results", results)
    pd.testing.assert_frame_equal(pd.read_parquet(file), frames["inference"])
    done = command("export", "--format", "json", "--table", "training", "--results", results)
    assert list(json.loads(done.stdout)["tables"]) == ["training"]


def test_excel_latex_and_tensorboard_are_read_back_by_what_reads_them(command, results, frames, tmp_path):
    targets = {"excel": "run.xlsx", "latex": "run.tex", "tensorboard": "events/"}
    for name, target in targets.items():
        done = command("export", "--format", name, "--to", f"{tmp_path}/{target}", "--results", results)
        assert done.returncode == 0 and "wrote " in done.stdout, done.stderr
    book = pytest.importorskip("openpyxl").load_workbook(tmp_path / "run.xlsx", read_only=True)
    assert book.sheetnames == [*frames, "columns"]
    headings, first, *rest = book["inference"].iter_rows(values_only=True)
    assert list(headings) == list(frames["inference"].columns)
    assert first[0] == frames["inference"]["cell"].iloc[0]
    assert 2 + len(rest) == 1 + len(frames["inference"])
    assert r"\begin{tabular}" in (tmp_path / "run.tex").read_text()
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (tmp_path / "events" / "training").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    assert "curve/quality" in events.Tags()["tensors"]


def test_markdown_and_json_are_whole_without_links_to_other_files(command, results, tmp_path):
    done = command("export", "--format", "markdown", "--results", results)
    assert (
        "# quick: run-1" in done.stdout and "](tables/" not in done.stdout and "](plots/" not in done.stdout
    )
    document = json.loads(command("export", "--format", "json", "--results", results).stdout)
    assert document["verdict"] and document["tables"]["inference"]["data"]


def test_a_page_and_a_plug_in_s_format_are_exported_too(command, results, tmp_path):
    plugin = tmp_path / "shout.py"
    plugin.write_text(
        "from reports.formats.table import FORMATS\n"
        "FORMATS.add('shout', lambda content: [('shout.txt', content.title.upper().encode())], about='x')\n"
    )
    from reports.formats.table import FORMATS

    before = dict(FORMATS._rows)
    try:
        done = command("export", "--format", "shout", "--plugin", plugin, "--results", results)
    finally:
        FORMATS._rows.clear()
        FORMATS._rows.update(before)
    assert done.stdout == "QUICK: RUN-1"
    page = tmp_path / "page.html"
    command("export", "--format", "html", "--to", page, "--results", results)
    assert "<html" in page.read_text()


@pytest.mark.parametrize("name", OF_TEXT)
def test_names_act_in_no_format(command, tmp_path, name):
    made_up = Synthetic(
        ("adam",), ("none", "prune-magnitude:0.5"), ("cpu-eager",), workloads=HOSTILE, launches=6
    )
    build(tmp_path / "results", made_up).close()
    done = command("export", "--format", name, "--to", f"{tmp_path}/out/", "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out").iterdir():
        text = path.read_text()
        shown = json.dumps(json.loads(text), ensure_ascii=False) if path.suffix == ".json" else text
        assert name == "pytest-benchmark" or visible(shown) == shown, path.name
        assert path.suffix in (".json", ".csv") or "<script>alert" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "exel"], "--format must be one of csv, excel, "),
        (["--format", "exel"], "did you mean 'excel'?"),
        (["--format", "csv"], "--to FOLDER writes them"),
        (["--format", "parquet", "--table", "inference"], "is no text; --to FILE writes it"),
        (["--format", "csv", "--table", "inferense"], "did you mean 'inference'?"),
        (["--format", "mlflow"], "--format mlflow needs --to"),
        (["--format", "mlflow", "--table", "inference"], "--table: the format mlflow has no tables"),
        (["--format", "json", "--to", "/proc/none/x.json"], "cannot be written"),
        (["run-7"], "no run 'run-7'"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(command, results, arguments, message):
    done = command("export", *arguments, "--results", results)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "module"), [("excel", "openpyxl"), ("mlflow", "mlflow"), ("tensorboard", "tensorboard")]
)
def test_a_missing_package_is_one_line_that_says_what_to_install(
    command, results, tmp_path, monkeypatch, name, module
):
    monkeypatch.setitem(sys.modules, module, None)
    done = command("export", "--format", name, "--to", tmp_path / "out", "--results", results)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr == (
        f"bench: --format {name} requires {module}: pip install 'dl-efficiency-bench[export]'\n"
    )


def test_the_default_stays_what_other_tools_read(command, results):
    done = command("export", "--results", results)
    assert json.loads(done.stdout)["benchmarks"]
    assert export_format("pytest-benchmark").render is not None
