"""How a matrix says that optimizers are tuned, and what a mistake in it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import MatrixError
from bench.matrix.cells import Matrix
from bench.matrix.reading import read_matrix
from bench.matrix.tuning import Tuning, tuning_of

TEXT = """
[train]
workload = "digits"
optimizer = ["adam", "sgd"]
{tuning}

[infer]
compression = "none"
backend = "cpu-eager"
"""


def read(folder: Path, tuning: str, filter_text: str = "", text: str = TEXT) -> Matrix:
    file = folder / "mine.toml"
    file.write_text(text.replace("{tuning}", tuning))
    return read_matrix(str(file), filter_text)


def tunings(matrix: Matrix) -> list[str]:
    return list(dict.fromkeys(cell.tuning for cell in matrix.cells))


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("", ["fixed"]),
        ('tuning = "fixed"', ["fixed"]),
        ('tuning = "defaults"', ["defaults"]),
        ("tuning = { trials = 20 }", ["trials:20"]),
        ('tuning = "trials:20"', ["trials:20"]),
        ("tuning = { trials = 20, at = [5, 10, 20] }", ["trials:5", "trials:10", "trials:20"]),
        ("tuning = { trials = 6, trial_seed = 3 }", ["trials:6,trial_seed=3"]),
        ('tuning = ["fixed", { trials = 6 }]', ["fixed", "trials:6"]),
        ("[train.tuning]\ntrials = 7", ["trials:7"]),
    ],
)
def test_each_way_to_write_it_has_one_spelling(tmp_path: Path, written: str, values: list[str]) -> None:
    assert tunings(read(tmp_path, written)) == values


def test_an_optimizer_that_is_tuned_is_crossed_with_each_number_of_trials(tmp_path: Path) -> None:
    matrix = read(tmp_path, "tuning = { trials = 20, at = [5, 20] }\nseed = [0, 1]")
    assert len(matrix.cells) == 2 * 2 * 2


def test_cells_can_be_filtered_and_excluded_by_tuning(tmp_path: Path) -> None:
    both = 'tuning = ["fixed", { trials = 6, at = [3, 6], trial_seed = 2 }]'
    assert tunings(read(tmp_path, both, "tuning=trials:*")) == [
        "trials:3,trial_seed=2",
        "trials:6,trial_seed=2",
    ]
    assert tunings(read(tmp_path, both, "tuning=trials:3,trial_seed=2,seed=0")) == ["trials:3,trial_seed=2"]
    rule = TEXT + '[[exclude]]\ntuning = "fixed"\n'
    assert "fixed" not in tunings(read(tmp_path, both, text=rule))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("tuning = 20", 'train.tuning: must be "fixed", "defaults", a table such as { trials = 20 }'),
        (
            'tuning = "best"',
            """must be "fixed", "defaults", a table such as { trials = 20 }, or a list of these""",
        ),
        ("tuning = { trials = 1 }", "train.tuning.trials: must be greater than or equal to 2, got 1"),
        ("tuning = { trials = 1001 }", "train.tuning.trials: must be less than or equal to 1000, got 1001"),
        ("tuning = { trials = 2.5 }", "train.tuning.trials: must be a valid integer, got 2.5"),
        ("tuning = { trials = 9, tries = 3 }", "unknown key 'train.tuning.tries'; did you mean 'trials'?"),
        ("tuning = { at = [5] }", "'train.tuning.trials' is missing"),
        (
            "tuning = { trials = 9, at = [10] }",
            "train.tuning.at: must have numbers of at most trials = 9, got [10]",
        ),
        ("tuning = { trials = 9, at = [1] }", "train.tuning.at.0: must be greater than or equal to 2, got 1"),
        (
            "tuning = { trials = 9, trial_seed = -1 }",
            "train.tuning.trial_seed: must be greater than or equal to 0",
        ),
        ("tuning = []", "[train] tuning: must not be an empty list"),
        ('tuning = "trials:1"', "trials must be an integer from 2 to 1,000, got 1"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_right(tmp_path: Path, written: str, message: str) -> None:
    with pytest.raises(MatrixError) as raised:
        read(tmp_path, written)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_bad_table_ends_the_command_with_code_2_and_one_line(command, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TEXT.replace("{tuning}", "tuning = { trials = 0 }"))
    done = command("run", "--matrix", file, "--dry-run", "--results", tmp_path / "results")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        f"bench: {file}: train.tuning.trials: must be greater than or equal to 2, got 0"
    ]


def test_published_defaults_take_no_settings(tmp_path: Path) -> None:
    text = TEXT.replace('"sgd"', '"sgd:lr=0.5"')
    with pytest.raises(
        MatrixError, match=r"takes an optimizer without settings, got 'sgd:lr=0.5'; write 'sgd'"
    ):
        read(tmp_path, 'tuning = "defaults"', text=text)
    rule = '[[exclude]]\noptimizer = "sgd:*"\ntuning = "defaults"\n'
    assert len(read(tmp_path, 'tuning = ["fixed", "defaults"]', text=text + rule).cells) == 3


def test_a_model_that_is_served_as_given_is_not_tuned(tmp_path: Path) -> None:
    text = TEXT.replace('"digits"', '"exported:model.pt2"')
    assert tunings(read(tmp_path, "tuning = { trials = 5 }", text=text)) == ["fixed"]


def test_trials_are_trained_with_a_seed_that_no_matrix_has_by_habit() -> None:
    assert tuning_of("fixed") is None
    seeds = [Tuning(5, seed).training_seed for seed in (0, 1, 2**31 - 1)]
    assert len(set(seeds)) == 3 and all(2**31 <= seed < 2**32 for seed in seeds)
