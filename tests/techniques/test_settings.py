"""How values are written, so that any name can be given and is read again as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.matrix.filters import parse_filter
from bench.workloads import WORKLOADS
from techniques.compression import parse_recipe
from techniques.registry import TechniqueError
from techniques.settings import quote, split, unquote

NAMES = [
    "epoch=3-step=120.onnx",
    "a,b.onnx",
    " outer .onnx",
    "a+b.onnx",
    'the "best".onnx',
    "a|b.onnx",
    "a b.onnx",
]


@given(st.text())
def test_any_text_is_one_piece_once_quoted(text: str) -> None:
    assert unquote(quote(text)) == text
    for separator in ",+|":
        assert split(f"{quote(text)}{separator}x", separator) == [quote(text) or "", "x"]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_a_workloads_spelling_is_read_as_the_same_workload(names: list[str]) -> None:
    if not names[0].strip():
        return
    first = WORKLOADS.parse(f"onnx:{quote(names[0], '=')}")
    assert first.settings["file"] == names[0]
    assert WORKLOADS.parse(first.text).settings == first.settings


@pytest.mark.parametrize("name", NAMES)
def test_names_with_separators_are_given_in_quotes(name: str) -> None:
    written = f'onnx:"{name.replace(chr(34), chr(34) * 2)}",scores=false'
    found = WORKLOADS.parse(written)
    assert (found.settings["file"], found.settings["scores"]) == (name, False)
    assert WORKLOADS.parse(found.text).settings == found.settings
    assert parse_filter(f"workload={found.text},backend=onnx*") == {
        "workload": [found.text],
        "backend": ["onnx*"],
    }


def test_a_file_that_is_there_needs_no_quotes_for_its_equals_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TechniqueError, match=r"unknown setting 'epoch'.* stands in double quotes"):
        WORKLOADS.parse("onnx:epoch=3.onnx")
    Path("epoch=3.onnx").touch()
    found = WORKLOADS.parse("onnx:epoch=3.onnx,scores=false")
    assert found.settings["file"] == "epoch=3.onnx" and found.text == 'onnx:"epoch=3.onnx",scores=false'


def test_a_file_of_code_may_have_any_name() -> None:
    for text in ('"my=net,2.py:make",target=0.5', 'own:"my=net,2.py:make",target=0.5'):
        found = WORKLOADS.parse(text)
        assert found.settings["reference"] == "my=net,2.py:make" and found.settings["target"] == 0.5
        assert found.row.implementation == "my=net,2.py:make"


def test_a_setting_that_holds_a_technique_is_written_as_ever() -> None:
    found = WORKLOADS.parse("mine.py:make,optimizer=adam:lr=0.01")
    assert found.settings["optimizer"] == "adam:lr=0.01" and found.text.endswith("optimizer=adam:lr=0.01")


@pytest.mark.parametrize("text", ['onnx:"a.onnx', 'onnx:a".onnx', 'onnx:"a"b".onnx'])
def test_a_quote_out_of_place_is_told(text: str) -> None:
    with pytest.raises(TechniqueError, match="quote out of place"):
        WORKLOADS.parse(text)


def test_recipes_are_split_outside_quotes() -> None:
    assert parse_recipe("prune-mean:1+int8-dynamic").text == "prune-mean:1+int8-dynamic"
