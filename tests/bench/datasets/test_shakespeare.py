from pathlib import Path

import pytest

from bench import datasets
from bench.datasets import shakespeare
from bench.errors import DataError


@pytest.fixture(scope="module")
def texts() -> shakespeare.Texts:
    try:
        datasets.fetch("shakespeare")
    except DataError as error:
        pytest.skip(f"needs the texts: {error}")
    return datasets.load("shakespeare")


def test_title_author_and_closing_words_are_no_part_of_a_text() -> None:
    typed = "HAMLET\n\nby William Shakespeare\n\n\n\nBer.  \nWho's there?\n\n[Exeunt.]\n\nTHE END"
    assert shakespeare.strip(typed, Path("hamlet")) == "Ber.\nWho's there?\n\n[Exeunt.]\n"


def test_a_text_by_nobody_is_refused() -> None:
    with pytest.raises(DataError, match="hamlet: no line 'by William Shakespeare'"):
        shakespeare.strip("Who's there?", Path("hamlet"))


def test_whole_plays_are_held_out(texts: shakespeare.Texts) -> None:
    assert set(texts.test) == set(shakespeare.HELD_OUT)
    assert set(texts.validation) == set(shakespeare.HELD_OUT_FOR_VALIDATION)
    assert not set(texts.validation) & set(texts.test)
    assert len(texts.train) == 42 - 8 and not set(texts.train) & {*texts.test, *texts.validation}
    assert "Double, double, toil and trouble" in texts.test["macbeth"]
    assert not any("Double, double, toil" in text for text in texts.train.values())


def test_nothing_of_who_typed_it_is_left(texts: shakespeare.Texts) -> None:
    for text in [*texts.train.values(), *texts.validation.values(), *texts.test.values()]:
        assert text.isascii() and "\t" not in text and " \n" not in text
        assert not any(word in text for word in ("Gutenberg", "by William Shakespeare", "THE END"))


def test_size_in_the_table_is_that_of_the_files(texts: shakespeare.Texts) -> None:
    files = [path for path in shakespeare.SET.here().rglob("*") if path.is_file()]
    assert datasets.get("shakespeare").size_bytes == sum(path.stat().st_size for path in files)
