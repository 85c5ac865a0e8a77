"""Bisecting names the commit that made it slower, whatever cannot be built or told, and changes nothing."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bench.analysis.statistics import Interval
from bench.errors import BenchError
from bench.regression import bisect_by_ab
from bench.regression.bisect import (
    MORE_BUDGET,
    Bisection,
    Effect,
    Search,
    bisect,
    bisection_lines,
)
from bench.regression.bisect_by_ab import AbProcess
from bench.regression.finding import Comparison, Finding
from bench.regression.revisions import Repository
from tests.support.scratch_repository import PYTHON, commit, git, start

COMMITS = 17
BROKEN = Effect(None, "train.py: SyntaxError")


def ratio(value: float, width: float = 0.02) -> Effect:
    return Effect(Interval(value, value * math.exp(-width), value * math.exp(width), 6, "recorded"))


class Recorded:
    """Answers from what each commit takes, in place of measuring; remembers what it was asked."""

    def __init__(self, takes: Mapping[str, float | Effect | Callable[[float], Effect]]) -> None:
        self.takes = takes
        self.asked: list[tuple[str, str, float]] = []
        self.borders: list[float] = []

    def __call__(self, before: str, after: str, budget_s: float, border: float = 1.0, /) -> Effect:
        self.asked.append((before, after, budget_s))
        self.borders.append(border)
        old, new = self.takes[before], self.takes[after]
        if callable(new):
            return new(budget_s)
        if isinstance(new, Effect) or isinstance(old, Effect):
            return new if isinstance(new, Effect) else BROKEN
        return ratio(new / (1.0 if callable(old) else old))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, list[str]]:
    """Return a repository of commits in one line, and their hashes."""
    folder = tmp_path_factory.mktemp("line")
    start(folder)
    hashes = [commit(folder, f"Change {number}", file=f"{number}") for number in range(COMMITS)]
    return Repository(folder), hashes


def search(compare: Recorded, **options) -> Search:
    return Search(compare, 10.0, **options)


def find(line: tuple[Repository, list[str]], takes: list, **options) -> tuple[Bisection, Recorded]:
    repository, hashes = line
    compare = Recorded(dict(zip(hashes, takes, strict=True)))
    return bisect(repository, hashes[0], hashes[-1], search(compare, **options)), compare


def slow_from(place: int, takes: float = 1.5) -> list:
    return [1.0 if number < place else takes for number in range(COMMITS)]


@pytest.mark.parametrize("place", range(1, COMMITS))
def test_the_culprit_is_found_in_as_few_comparisons_as_halving_takes(line, place):
    found, compare = find(line, slow_from(place))
    assert [each.revision for each in found.culprits] == [line[1][place]]
    assert len(found.judged) <= math.ceil(math.log2(COMMITS - 1)) + 1
    assert found.own.ratio.value == pytest.approx(1.5)
    assert compare.asked[-1][:2] == (line[1][place - 1], line[1][place])
    between = compare.borders[1:-1]
    assert compare.borders[0] == compare.borders[-1] == 1
    assert between == pytest.approx([math.sqrt(1.5)] * len(between))


def test_what_made_it_faster_is_found_too(line):
    found, _ = find(line, slow_from(6, 0.7))
    assert found.culprits[0].revision == line[1][6] and found.own.ratio.value == pytest.approx(0.7)


def test_commits_that_cannot_be_built_are_skipped(line):
    takes = slow_from(11)
    for place in (4, 8, 9, 12):
        takes[place] = BROKEN
    found, _ = find(line, takes)
    assert found.culprits[0].revision == line[1][11] and len(found.culprits) == 1
    skipped = [each for each in found.judged if each.judgement == "skipped"]
    assert skipped and all(each.effect.reason == BROKEN.reason for each in skipped)


def test_where_all_around_the_culprit_is_broken_the_few_that_remain_are_named(line):
    takes = slow_from(9)
    takes[8] = takes[9] = BROKEN
    found, _ = find(line, takes)
    assert {each.revision for each in found.culprits} == {line[1][place] for place in (8, 9, 10)}
    assert found.own is None
    text = "\n".join(bisection_lines(found))
    assert "one of 3 commits" in text and "skipped, train.py: SyntaxError" in text


def test_a_commit_that_cannot_be_told_gets_more_budget_once(line):
    hashes = line[1]
    takes = slow_from(9)
    border = math.sqrt(1.5)
    takes[8] = lambda budget_s: ratio(1.1, 0.01) if budget_s > 10 else ratio(border, 0.2)
    found, compare = find(line, takes)
    assert found.culprits[0].revision == hashes[9]
    assert [budget for _, after, budget in compare.asked if after == hashes[8]][:2] == [10, 10 * MORE_BUDGET]


def test_what_more_budget_does_not_tell_is_skipped(line):
    takes = slow_from(12)
    takes[8] = lambda _: ratio(math.sqrt(1.5), 0.2)
    found, _ = find(line, takes)
    assert found.culprits[0].revision == line[1][12]
    assert [each.judgement for each in found.judged if each.commit.revision == line[1][8]] == ["skipped"]


def test_an_effect_without_an_interval_tells_nothing(line):
    takes = slow_from(12)
    takes[8] = lambda _: Effect(Interval(1.5, None, None, 1, "one launch"))
    found, _ = find(line, takes)
    assert found.culprits[0].revision == line[1][12]


def test_of_two_slowdowns_the_larger_is_named_and_the_rest_is_said(line):
    takes = [1.0 if number < 3 else 1.1 if number < 10 else 1.5 for number in range(COMMITS)]
    found, _ = find(line, takes)
    assert found.culprits[0].revision == line[1][10]
    assert any("explains only part" in text for text in bisection_lines(found))


def test_commits_to_skip_are_never_measured(line):
    hashes = line[1]
    found, compare = find(line, slow_from(9), skip=frozenset({hashes[8]}))
    assert hashes[8] not in [after for _, after, _ in compare.asked]
    assert {each.revision for each in found.culprits} == {hashes[8], hashes[9]}


def test_each_comparison_is_one_line_that_says_how_many_are_left(line):
    said: list[str] = []
    found, _ = find(line, slow_from(11), tell=said.append)
    lines = [text for text in said if "suspects, " in text]
    assert len(lines) == len(found.judged) and lines[0].startswith("16 suspects, about 4 to measure: ")
    assert all(text.endswith((", good", ", bad")) and "\n" not in text for text in lines)


def test_the_result_names_the_commit_its_author_its_interval_and_how_to_look_at_it(line):
    found, _ = find(line, slow_from(5))
    text = "\n".join(bisection_lines(found))
    assert f"first bad commit: {line[1][5]}" in text and "Change 5" in text
    assert "Ada, 2026-01-02" in text and "against its parent: 1.50x (1.47 to 1.53)" in text
    assert f"git show {line[1][5][:10]}" in text


def test_neighbours_need_one_comparison(line):
    repository, hashes = line
    compare = Recorded(dict(zip(hashes, slow_from(5), strict=True)))
    found = bisect(repository, hashes[4], hashes[5], search(compare))
    assert found.culprits[0].revision == hashes[5] and len(compare.asked) == 1


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, dict[str, str]]:
    """Return a repository whose slow commit came in by a merge, and its commits by subject."""
    folder = tmp_path_factory.mktemp("merged")
    start(folder)
    named = {"start": commit(folder, "start", a="0"), "one": commit(folder, "one", a="1")}
    git(folder, "switch", "--quiet", "--create", "side", named["start"])
    named |= {name: commit(folder, name, b=name) for name in ("quick side", "slow side", "late side")}
    git(folder, "switch", "--quiet", "main")
    git(folder, "merge", "--quiet", "--no-ff", "--message", "merge", "side")
    named["merge"] = git(folder, "rev-parse", "HEAD")
    named["last"] = commit(folder, "last", a="2")
    return Repository(folder), named


@pytest.mark.parametrize(("first_parent", "culprit"), [(False, "slow side"), (True, "merge")])
def test_merges_are_gone_into_unless_only_first_parents_are_followed(merged, first_parent, culprit):
    repository, named = merged
    slow = ("slow side", "late side", "merge", "last")
    compare = Recorded({revision: 1.5 if name in slow else 1.0 for name, revision in named.items()})
    found = bisect(repository, named["start"], named["last"], search(compare, first_parent=first_parent))
    assert [each.subject for each in found.culprits] == [culprit]
    if first_parent:
        assert not {named["slow side"], named["late side"]} & {after for _, after, _ in compare.asked}


def test_good_must_be_on_the_line_of_first_parents_where_only_they_are_followed(merged):
    repository, named = merged
    compare = Recorded(dict.fromkeys(named.values(), 1.0))
    with pytest.raises(BenchError, match="first parents"):
        bisect(repository, named["quick side"], "HEAD", search(compare, first_parent=True))


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        (5, 5, "same commit"),
        (9, 2, "must be an ancestor of BAD"),
        (0, 1, "do not differ beyond noise: 1.00x"),
        (0, 2, "cannot be compared: train.py: SyntaxError"),
        ("no-such", 2, "no commit 'no-such'"),
        ("--help", 2, "no commit '--help'"),
    ],
)
def test_what_cannot_be_bisected_is_one_clear_error(line, good, bad, message):
    repository, hashes = line
    takes = slow_from(5)
    takes[2] = BROKEN
    compare = Recorded(dict(zip(hashes, takes, strict=True)))
    names = [name if isinstance(name, str) else hashes[name] for name in (good, bad)]
    with pytest.raises(BenchError) as caught:
        bisect(repository, *names, search(compare))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_in_no_repository_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(BenchError, match="is in no git repository"):
        Repository(tmp_path)


def test_the_repository_is_left_as_it_was(tmp_path):
    start(tmp_path)
    hashes = [commit(tmp_path, f"Change {number}", file=f"{number}") for number in range(6)]
    (tmp_path / "file").write_text("not committed")

    def state() -> list[str]:
        seen = (("status", "--porcelain"), ("for-each-ref",), ("worktree", "list"), ("rev-parse", "HEAD"))
        return [git(tmp_path, *words) for words in seen] + sorted(map(str, (tmp_path / ".git").iterdir()))

    before = state()
    compare = Recorded({each: 1.0 if place < 3 else 2.0 for place, each in enumerate(hashes)})
    assert Repository(tmp_path).has_changes()
    bisect(Repository(tmp_path), hashes[0], hashes[-1], search(compare))
    assert state() == before and (tmp_path / "file").read_text() == "not committed"


def written_by_ab(words, code: int, *findings: Finding) -> int:
    path = Path(words[words.index("--json") + 1])
    path.write_text(json.dumps(Comparison("ab", "A", "B", list(findings)).to_json()))
    return code


RATIO = Interval(1.5, 1.4, 1.6, 6, "Wilcoxon")
SLOWER = Finding("regression", "command", "wall_s", "1.5x", 1.0, 1.5, RATIO)
LARGER = Finding("no change", "command", "peak_rss_bytes", "1x", ratio=Interval(1.0, 0.99, 1.01, 6, "x"))


def test_bench_ab_is_called_with_what_to_measure_and_its_finding_is_read(monkeypatch, tmp_path):
    called = []

    def run(words, folder):
        called.append((words, folder))
        return written_by_ab(words, 1, LARGER, SLOWER), ""

    monkeypatch.setattr(bisect_by_ab, "_run", run)
    compare = AbProcess(["--command", "python train.py"], tmp_path)
    effect = compare("aaa", "bbb", 30.0)
    words, folder = called[0]
    assert words[1:9] == ["-P", "-m", "bench", "ab", "aaa", "bbb", "--command", "python train.py"]
    assert words[9:11] == ["--budget", "30"] and folder == tmp_path
    assert effect.ratio == RATIO
    # What the ends differ in is what the commits between are judged by.
    assert (compare.stage, compare.metric) == ("command", "wall_s")


@pytest.mark.parametrize("border", [1.25, 0.8])
def test_bench_ab_ends_once_it_is_clear_on_which_side_of_the_border_a_commit_lies(
    monkeypatch, tmp_path, border
):
    called = []

    def run(words, folder):
        called.append(words)
        return written_by_ab(words, 1, SLOWER), ""

    monkeypatch.setattr(bisect_by_ab, "_run", run)
    compare = AbProcess(["--command", "python train.py"], tmp_path)
    compare("aaa", "bbb", 30.0)
    compare("aaa", "ccc", 30.0, border)
    first, then = (words[words.index("--json") + 2 :] for words in called)
    assert first == []
    assert then == ["--metric", "wall_s", "--threshold", "0.25", "--margin", "0.25"]


def test_the_metric_that_was_asked_for_is_the_one_that_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(bisect_by_ab, "_run", lambda words, _: (written_by_ab(words, 1, SLOWER, LARGER), ""))
    assert AbProcess([], tmp_path, "peak_rss_bytes")("a", "b", 1.0).ratio.value == 1.0
    missing = AbProcess([], tmp_path, "latency_s")("a", "b", 1.0)
    assert missing.ratio is None and "latency_s" in missing.reason


def test_a_revision_that_bench_ab_cannot_build_has_a_reason_and_no_ratio(monkeypatch, tmp_path):
    monkeypatch.setattr(bisect_by_ab, "_run", lambda *_: (2, "Traceback\nbench: bbb: pip failed\n"))
    assert AbProcess([], tmp_path)("a", "b", 1.0) == Effect(None, "bench: bbb: pip failed")
    lost = Finding("lost", "command", "wall_s", "exit code 1 in bbb")
    monkeypatch.setattr(bisect_by_ab, "_run", lambda words, _: (written_by_ab(words, 1, lost), ""))
    assert AbProcess([], tmp_path)("a", "b", 1.0) == Effect(None, "exit code 1 in bbb")


def test_no_comparison_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(bisect_by_ab, "_run", lambda *_: (0, ""))
    with pytest.raises(BenchError, match=r"no comparison came back from .* bench ab a b"):
        AbProcess([], tmp_path)("a", "b", 1.0)


CLEANS_UP = """
import pathlib, time
try:
    pathlib.Path("started").touch()
    time.sleep(60)
finally:
    pathlib.Path("removed").touch()
"""


@pytest.fixture
def heeds_ctrl_c():
    """Hear Ctrl-C as in a terminal: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_lets_bench_ab_remove_its_work_trees(tmp_path, heeds_ctrl_c):
    def press_ctrl_c() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press_ctrl_c, daemon=True)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        bisect_by_ab._run([*PYTHON, "-c", CLEANS_UP], tmp_path)
    assert (tmp_path / "removed").exists()
