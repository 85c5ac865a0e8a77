"""What `bench run` ends with: the choices of each workload and what failed, within 100 columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from bench.records import Measurement, Result
from bench.results.store import Store
from reports.frames.run import read_frames
from reports.frames.view import RunView, read
from reports.prose.summary import summary, wrapped
from reports.prose.verdict import verdict
from tests.support.synthetic_run import Synthetic, build
from tests.support.trainings import build_trainings


def lines_of(store: Store) -> list[str]:
    view = read(store, "run-1")
    return summary(view, read_frames(view))


def test_each_workload_has_its_training_and_serving_choice(view: RunView) -> None:
    lines = summary(view, read_frames(view))
    assert lines[0] == "digits"
    train = next(line for line in lines if line.startswith("  train "))
    assert "momentum: target reached in 450 steps, 4.50 s" in train and ", one seed" in train
    serve = next(line for line in lines if line.startswith("  serve "))
    assert "on onnxruntime (fp32): " in serve and "× none on cpu-eager" in "".join(lines)


@pytest.mark.parametrize(("close", "tied"), [((520.0, 470.0, 530.0), True), ((600.0, 620.0, 610.0), False)])
def test_optimizers_are_tied_by_their_seeds_where_there_are_three(
    close: tuple[float, ...], tied: bool, tmp_path: Path
) -> None:
    needed = {"digits/adam": (500.0, 520.0, 490.0), "digits/sgd": close}
    store = build_trainings(tmp_path, needed)
    view = read(store, "run-1")
    store.close()
    frames = read_frames(view)
    train = " ".join(" ".join(summary(view, frames)).split())
    assert "3 of 3 seeds" in train and ("statistically tied with sgd" in train) is tied
    sentences = "\n".join(verdict(view, frames))
    assert ("statistically tied with sgd (by their seeds)" in sentences) is tied
    assert "no verdict on optimizers" not in sentences


def test_the_choice_is_the_one_that_the_report_names(view: RunView, report: Path) -> None:
    serve = next(line for line in summary(view, read_frames(view)) if line.startswith("  serve "))
    choice = serve.removeprefix("  serve").strip().partition(":")[0]
    assert f"lowest latency within 1 point of the uncompressed model's quality is {choice}" in (
        (report / "report.md").read_text().replace("\\", "")
    )


def test_what_is_not_ok_is_counted_and_the_commonest_reasons_are_given(tmp_path: Path) -> None:
    failed = Result("failed", reason="CUDA out of\nmemory " + "x" * 300)
    store = build(tmp_path, Synthetic(results={"evaluate digits/adam": failed}))
    lines = lines_of(store)
    (count,) = (line for line in lines if line.startswith("  not ok "))
    assert "10 of 24 cells: 7 failed, 3 skipped" in count
    assert any("failed (7×): evaluate: CUDA out of memory x" in line for line in lines)


def test_batch_sizes_are_told_apart(tmp_path: Path) -> None:
    lines = lines_of(build(tmp_path, Synthetic(optimizers=("adam",), batch_sizes=(1, 8))))
    serving = [line for line in lines if line.startswith("  serve ")]
    assert [line.split()[2] for line in serving] == ["1:", "8:"]


def test_a_target_that_nothing_reached_and_a_bound_that_nothing_keeps_are_said(tmp_path: Path) -> None:
    worse = (Measurement("quality", 0.2), Measurement("accuracy", 0.2), Measurement("valid", 1.0))
    made_up = Synthetic(
        optimizers=("sgd",), compressions=("none", "int8-static"), measured={"evaluate digits/sgd": worse}
    )
    lines = "\n".join(lines_of(build(tmp_path / "one", made_up)))
    assert "no optimizer reached the target; best quality: sgd" in lines
    kept = {"evaluate digits/sgd/0/none@cpu-eager": (Measurement("quality", 0.9), Measurement("valid", 1.0))}
    skipped = Synthetic(
        optimizers=("sgd",),
        compressions=("none", "int8-static"),
        measured={**kept, "evaluate digits/sgd": worse},
        results={"infer digits/dense@cpu-eager": Result("failed", reason="no kernel")},
    )
    lines = "\n".join(lines_of(build(tmp_path / "two", skipped)))
    assert "nothing stays within 1 point of the uncompressed model" in lines


def test_a_smoke_run_names_no_choice(tmp_path: Path) -> None:
    lines = lines_of(build(tmp_path, Synthetic(request={"smoke": True})))
    assert "its numbers mean nothing" in " ".join(" ".join(lines).split())
    assert not any(line.startswith(("  train", "  serve")) for line in lines)


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize(
    "made_up",
    [
        Synthetic(optimizers=()),
        Synthetic(results={"": Result("failed", reason="no memory")}),
        Synthetic(results={"": Result("ok")}),
        Synthetic(
            optimizers=("adam", "momentum"),
            workloads=("w" * 300, "日本" * 80, "\x1b[31mred", "=cmd()", "<b>&amp;'\"", "\u202egpj.exe"),
            seeds=(0, 1),
            skip_reason="because \x1b[2J " + "y" * 300,
        ),
    ],
    ids=["empty", "all failed", "nothing measured", "hostile names"],
)
def test_no_line_of_any_run_is_wider_than_a_terminal_or_acts_on_it(
    made_up: Synthetic, finish: bool, tmp_path: Path
) -> None:
    for line in lines_of(build(tmp_path, made_up, finish=finish)):
        assert cell_len(line) <= 100 and "\n" not in line, line
        assert line.isprintable(), line


def test_long_lines_are_wrapped_and_nothing_is_lost() -> None:
    text = "note: " + " ".join(f"word{number}" for number in range(40))
    lines = wrapped(text)
    assert all(len(line) <= 100 for line in lines) and len(lines) > 2
    assert " ".join(" ".join(lines).split()) == text
    assert all(line.startswith("  ") for line in lines[1:]) and wrapped("short") == ["short"]
