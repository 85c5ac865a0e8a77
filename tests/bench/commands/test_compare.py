"""`bench compare`: one table and a page, with verdicts; names act nowhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.formatting import visible
from bench.records import Measurement
from tests.support.synthetic_run import ENVIRONMENT, Synthetic, build

MADE_UP = Synthetic(optimizers=("adam",), compressions=("none", "int8-static"), launches=6)
SLOWER = {"infer digits/dense@cpu-eager": (Measurement("latency_s", 2e-3, n=500),)}
HOSTILE = ("<script>alert(1)", "\x1b[31mred", "\u202egpj.exe", "=cmd()", "n" * 300, "日本\"'&amp;")


class Scripts(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.whole = page
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    build(folder, MADE_UP, run_id="run-1").close()
    build(folder, replace(MADE_UP, measured=SLOWER), run_id="run-2").close()
    return folder


def test_it_prints_the_largest_changes_first_and_leaves_a_page(command, results):
    done = command("compare", "run-1", "run-2", "--results", results)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("Test CPU" in line for line in lines)
    title = lines.index("Compared with run-1")
    first = next(line for line in lines[title + 4 :] if line.strip())
    assert "infer digits/dense@cpu-eager 1" in first and "slower" in first
    assert re.search(r"×(1\.9|2\.0)", first)
    assert "values of 2 runs: 1 worse" in done.stdout
    assert re.search(r"shown: headlines; the page has \d+ more values", done.stdout)
    page = (results / "run-2" / "compare.html").read_text()
    assert "slower" in page and "Content-Security-Policy" in page
    assert "http" not in re.sub(r"<script>.*?</script>", "", page, flags=re.S).replace("http-equiv", "")


def test_files_are_written_where_they_are_asked_for(command, results, tmp_path):
    files = {name: tmp_path / f"c.{name}" for name in ("html", "markdown", "json")}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    done = command("compare", "run-1", "run-2", "--rows", "1", *options, "--results", results)
    assert done.returncode == 0 and all(path.is_file() for path in files.values())
    found = json.loads(files["json"].read_text())
    row = next(
        row for row in found["rows"] if row["metric"] == "latency_s" and "dense@cpu-eager" in row["stage"]
    )
    assert row["unit"] == "s" and row["verdict"] == "regression"
    assert row["values"][1]["finding"]["ratio"]["value"] == pytest.approx(2.0, rel=0.05)
    assert "slower" in files["markdown"].read_text() and "data-table" in files["html"].read_text()
    left_out = re.search(r"the 1 largest changes of (\d+) headline values", done.stdout)
    assert left_out and 1 < int(left_out[1]) < len(found["rows"])


def test_names_act_nowhere(command, tmp_path):
    environment = {**ENVIRONMENT, "cpu": {"model": "<b>\x1b[2J CPU"}, "libraries": {"=cmd()": "<i>1</i>"}}
    for run_id in ("run-1", "run-2"):
        made_up = Synthetic(("adam",), ("none",), ("cpu-eager",), workloads=HOSTILE, launches=6)
        extra = {"environment": environment} if run_id == "run-2" else {}
        build(tmp_path, replace(made_up, **extra), run_id=run_id).close()
    markdown, html = tmp_path / "c.md", tmp_path / "c.html"
    done = command("compare", "run-1", "run-2", "--markdown", markdown, "--html", html, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, markdown.read_text(), html.read_text()):
        assert visible(text) == text
    page = Scripts(html.read_text())
    assert page.tags.count("script") == 2 and not {"b", "i", "img"} & set(page.tags)
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.whole)[0])
    assert any("<script>alert(1)" in text for text in data["tables"][1]["columns"][0]["texts"]["of"])
    assert "<script>" not in markdown.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run-1"], "takes two runs or more"),
        (["run-1", "run-9"], "no run 'run-9'"),
        (["run-1", "run-2", "--margin", "-1"], "--margin"),
        (["run-1", "run-2", "--json", "/proc/none/x"], "cannot be written"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(command, results, arguments, message):
    done = command("compare", *arguments, "--results", results)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_nothing_is_written_through_a_link(command, tmp_path):
    build(tmp_path / "results", MADE_UP, run_id="run-1").close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results" / "run-1").symlink_to(tmp_path / "elsewhere")
    done = command("compare", "run-1", "run-1", "--results", tmp_path / "results")
    assert done.returncode == 2 and "not a link" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_help_lists_it(command):
    assert "compare " in command("--help").stdout
