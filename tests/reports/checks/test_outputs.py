"""A comparison in every format: what is listed, what is counted, and that the files are what is expected."""

from __future__ import annotations

import json
import math
import os
import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from junitparser import Failure, JUnitXml, Skipped

from bench.analysis.statistics import Interval
from bench.errors import BenchError
from bench.regression.finding import Comparison, Finding
from reports.checks import github, junit, markdown, terminal
from reports.checks.write import Outputs, write

SLOWER = Finding(
    "regression",
    "infer digits/none@onnxruntime 1",
    "latency_s",
    "1.12x (1.08 to 1.15), slower",
    0.010,
    0.0112,
    Interval(1.12, 1.08, 1.15, 10, "paired"),
)
OPEN = Finding("can't tell", "infer digits/none@cpu-eager 1", "latency_s", "would have seen 7 %", bound=0.07)
APART = Finding("not comparable", "infer x", "latency_s", "timed on another machine")
NEW = Finding("new", "infer y", "", "in this run but not in the baseline")
SAME = Finding("no change", "step digits/adam", "step_latency_s", "no change larger than 2 %", bound=0.02)


def compared(*findings: Finding, notes: tuple[str, ...] = ()) -> Comparison:
    return Comparison("ab", "main", "work tree", list(findings), list(notes))


def test_the_terminal_lists_the_worst_first_and_counts_what_did_not_change():
    *rows, summary = terminal.lines(compared(SAME, OPEN, SLOWER, notes=("the CPU differs",)))
    assert rows == [
        "note: the CPU differs",
        "regression  infer digits/none@onnxruntime 1 latency_s: 1.12x (1.08 to 1.15), slower",
        "can't tell  infer digits/none@cpu-eager 1 latency_s: would have seen 7 %",
    ]
    assert summary == "work tree against main: REGRESSION (1 regression, 1 can't tell, 1 no change)"


def test_the_terminal_lists_every_alarm_and_the_first_of_the_rest():
    lines = list(terminal.lines(compared(*[SLOWER] * 30, *[OPEN] * 30)))
    assert Counter(line.split("  ")[0] for line in lines)["regression"] == 30
    assert sum(line.startswith("can't tell  ") for line in lines) == terminal.MAX_OF_A_VERDICT
    assert lines[-2].startswith("and 10 more can't tell")


def test_markdown_is_one_table_whatever_the_texts_hold():
    hostile = Finding("lost", "a|b `c`\n<script>", "", "[x](y) *bold*")
    text = markdown.render(compared(SLOWER, hostile, SAME))
    assert "**work tree against main: REGRESSION (1 regression, 1 lost, 1 no change)**" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
    assert "<script>" not in text and "**regression**" in rows[2]
    assert "no change larger" not in text


def test_annotations_escape_what_the_runner_would_read_as_its_own():
    finding = Finding("regression", "infer a:b, c", "latency_s", "100 % slower\n::error::not one of mine")
    (line,) = github.lines(compared(finding, SAME))
    assert line == (
        "::error title=regression%3A infer a%3Ab%2C c latency_s::100 %25 slower%0A::error::not one of mine"
    )


def test_annotations_are_ten_errors_at_most_and_one_warning_for_all_that_is_open():
    lines = list(github.lines(compared(*[SLOWER] * 12, OPEN, OPEN, SAME)))
    assert Counter(line.split(" ")[0] for line in lines) == {"::error": 10, "::warning": 1}
    assert "::error title=3 more::" in lines[9]
    assert lines[-1].startswith("::warning title=can't tell%3A 2 of 15::") and "%0A" in lines[-1]


def test_junit_has_a_case_for_each_finding_as_a_parser_of_ci_servers_reads_it(tmp_path):
    lost = Finding("lost", "evaluate digits", "", "was measured in the baseline")
    apart = Finding("not comparable", "infer x", "latency_s", "another machine")
    path = tmp_path / "junit.xml"
    path.write_bytes(junit.render(compared(SAME, OPEN, SLOWER, lost, apart, notes=("one note",))))
    (suite,) = JUnitXml.fromfile(str(path))
    assert (suite.name, suite.tests, suite.failures, suite.skipped, suite.errors) == ("bench ab", 5, 2, 2, 0)
    results = {(case.classname, case.name): case.result for case in suite}
    (failure,) = results[SLOWER.stage, "latency_s"]
    assert isinstance(failure, Failure) and failure.type == "regression" and failure.message == SLOWER.text
    (skipped,) = results[OPEN.stage, "latency_s"]
    assert isinstance(skipped, Skipped) and skipped.message == "can't tell: would have seen 7 %"
    assert results[SAME.stage, "step_latency_s"] == []
    assert isinstance(results["evaluate digits", "stage"][0], Failure)
    assert {one.name: one.value for one in suite.properties()} == {"before": "main", "after": "work tree"}


ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id"},
    "testcase": {"name", "time", "classname"},
    "failure": {"type", "message"},
    "skipped": {"type", "message"},
    "property": {"name", "value"},
    "properties": set(),
    "system-out": set(),
}
"""What the schemas of Jenkins and of Ant both allow of each element."""


def test_junit_keeps_to_the_elements_and_attributes_of_the_schema():
    limit = Finding(
        "broken", "infer \x1b[31m\ud800\ufffe\uffff", "latency_s", "23 ms & <more>", limit="<= 20 ms"
    )
    root = ET.fromstring(junit.render(compared(SAME, OPEN, SLOWER, limit)))
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag], element.tag
    assert {case.get("name") for case in root.iter("testcase")} >= {"latency_s <= 20 ms"}
    assert [child.tag for child in root] == ["testsuite"]


def test_json_has_every_finding_and_null_for_what_is_not_finite(tmp_path):
    endless = Finding(
        "regression", "infer x", "latency_s", "", ratio=Interval(2.0, 1.5, math.inf, 3, "Welch")
    )
    path = tmp_path / "out" / "ab.json"
    write(compared(SAME, SLOWER, endless), Outputs(json=path), lambda _: None, {})
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert document["exit_code"] == 1 and document["counts"] == {"regression": 2, "no change": 1}
    assert [found["verdict"] for found in document["findings"]] == ["no change", "regression", "regression"]
    assert document["findings"][1]["ratio"]["low"] == 1.08
    assert document["findings"][2]["ratio"]["high"] is None


@pytest.mark.parametrize(
    ("findings", "strict", "code"),
    [
        ((SAME,), True, 0),
        ((SAME, OPEN), False, 0),
        ((SAME, OPEN), True, 3),
        ((OPEN, SLOWER), False, 1),
        ((OPEN, SLOWER), True, 1),
        ((SAME, APART), False, 0),
        ((SAME, APART), True, 3),
        ((NEW,), False, 0),
        ((NEW,), True, 3),
        ((SAME, NEW), True, 0),
        ((), True, 0),
    ],
)
def test_the_exit_code_is_1_for_an_alarm_and_3_for_what_is_open_if_strict(findings, strict, code):
    assert write(compared(*findings), Outputs(strict=strict), lambda _: None, {}) == code


@pytest.mark.parametrize(
    ("findings", "outcome"),
    [
        ((SAME,), "clean (1 no change)"),
        ((SAME, NEW), "clean (1 no change, 1 new)"),
        ((SAME, OPEN), "no regression found, but not all can be told (1 can't tell, 1 no change)"),
        ((OPEN, APART), "nothing could be compared (1 can't tell, 1 not comparable)"),
        ((NEW,), "nothing could be compared (1 new)"),
        ((), "nothing could be compared"),
        ((OPEN, SLOWER), "REGRESSION (1 regression, 1 can't tell)"),
    ],
)
def test_who_is_blind_does_not_say_clean(findings, outcome):
    assert compared(*findings).summary == f"work tree against main: {outcome}"


def test_a_cell_that_was_skipped_leaves_no_limit_open():
    skipped = Finding("not comparable", "cell x", "latency_s", "skipped: no kernel")
    kept = Finding("kept", "infer y", "latency_s", "9 ms, limit <= 20 ms")
    limits = Comparison("limits", "its limits", "run-1", [kept, skipped])
    assert limits.exit_code(strict=True) == 0 and "clean" in limits.summary
    limits.findings.append(Finding("can't tell", "infer z", "latency_s", "unknown"))
    assert limits.exit_code(strict=True) == 3 and "no limit broken, but not all can be told" in limits.summary


def test_several_files_are_written_at_once(tmp_path):
    outputs = Outputs(*(tmp_path / name for name in ("a.json", "b.xml", "c.md")))
    said: list[str] = []
    write(compared(SLOWER), outputs, said.append, {})
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.xml", "c.md"}
    assert not any(line.startswith("::") for line in said)


def test_a_step_of_githubs_actions_gets_annotations_and_its_summary_unasked(tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    said: list[str] = []
    write(compared(SLOWER), Outputs(), said.append, environment)
    assert summary.read_text().startswith("# Before\n## Benchmark comparison\n")
    assert sum(line.startswith("::error ") for line in said) == 1


def test_what_names_hold_is_no_command_to_githubs_runner():
    """Read as the runner does: commands are lines that begin with ::, and ##[...] anywhere."""
    hostile = Finding("regression", "infer a\n::add-mask::x", "latency_s", "##[error]not mine\n::warning::no")
    said: list[str] = []
    write(compared(hostile), Outputs(), said.append, {"GITHUB_ACTIONS": "true"})
    obeyed, word = [], ""
    for line in "\n".join(said).splitlines():
        if word:
            word = "" if line == f"::{word}::" else word
        elif line.startswith("::stop-commands::"):
            word = line.removeprefix("::stop-commands::")
        elif line.startswith("::") or "##[" in line:
            obeyed.append(line.split(" ")[0])
    assert obeyed == ["::error"] and not word


def test_two_steps_stop_commands_by_different_words():
    first, second = (next(iter(github.as_text([]))) for _ in range(2))
    assert first != second and len(first) > len("::stop-commands::") + 30


def test_nobody_is_mentioned_and_names_of_cells_stay_as_they_are():
    text = markdown.render(
        compared(Finding("lost", "digits/none@cpu-eager", "", "@org/team, see me@example"))
    )
    assert "digits/none@cpu-eager" in text and "me@example" in text
    assert not re.search(r"(?<!\w)@\w", text)


def test_markdown_of_ten_thousand_alarms_is_shown_by_github():
    text = markdown.render(compared(*[SLOWER] * 10_000))
    assert len(text.encode()) < 2**20 and "And 9500 more regression." in text


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"x\.json: cannot be written"):
        write(compared(SAME), Outputs(json=tmp_path / "file" / "x.json"), lambda _: None, {})


def test_a_link_a_folder_and_a_device_are_refused_and_left_as_they_are(tmp_path):
    """What /dev/stdout is must never be replaced by a file."""
    (tmp_path / "target").write_text("before")
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to("target")
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path):
        with pytest.raises(BenchError, match="not a link, a folder or a device"):
            write(compared(SAME), Outputs(json=path), lambda _: None, {})
    assert link.is_symlink() and pipe.is_fifo() and link.read_text() == "before"
