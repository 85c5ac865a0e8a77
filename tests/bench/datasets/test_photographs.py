import pytest

from bench import datasets
from bench.datasets import photographs
from bench.errors import DataError


@pytest.fixture(scope="module")
def pictures() -> photographs.Photographs:
    try:
        datasets.fetch("photographs")
    except DataError as error:
        pytest.skip(f"needs the photographs: {error}")
    return datasets.load("photographs")


def test_photographs_have_three_channels_and_room_for_a_crop(pictures: photographs.Photographs) -> None:
    every = [*pictures.train.values(), *pictures.validation.values(), *pictures.test.values()]
    assert len(every) == 13
    for picture in every:
        assert picture.dtype == "uint8" and picture.shape[2] == 3 and min(picture.shape[:2]) >= 300


def test_no_photograph_is_in_two_parts(pictures: photographs.Photographs) -> None:
    assert len({*pictures.train, *pictures.validation, *pictures.test}) == 13


def test_grey_and_coloured_photographs_are_in_every_part(pictures: photographs.Photographs) -> None:
    for part in (pictures.train, pictures.validation, pictures.test):
        grey = [bool((picture[..., 0] == picture[..., 2]).all()) for picture in part.values()]
        assert True in grey and False in grey


def test_size_in_the_table_is_that_of_the_files(pictures: photographs.Photographs) -> None:
    files = [path for path in photographs.SET.here().rglob("*") if path.is_file()]
    assert datasets.get("photographs").size_bytes == sum(path.stat().st_size for path in files)
