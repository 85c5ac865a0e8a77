"""Tables of labelled texts are read as pandas reads them, and what is left out is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

from bench.errors import DataError
from bench.workloads.sources import Labelled, text_table
from bench.workloads.words import PADDING, UNKNOWN

ROWS = [(f"good thing {number}", "yes") for number in range(20)]
ROWS += [(f"bad thing, {number}", "no") for number in range(20)]


def write(path: Path, rows: Sequence[tuple[str, str]], encoding: str = "utf-8", **dialect: Any) -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, **dialect)
        writer.writerow(("text", "label"))
        writer.writerows(rows)
    return path


def samples(found: Labelled) -> int:
    validation = found.data.validation
    held = 0 if validation is None else len(validation.inputs)
    return len(found.data.train_inputs) + held + len(found.data.test_inputs)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_table_of_texts_becomes_tokens_of_the_training_words(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "texts.csv", ROWS)
    if suffix == ".jsonl":
        path = tmp_path / "texts.jsonl"
        path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS))
    found = text_table(path, length=6)
    data = found.data
    assert found.classes == ("no", "yes") and data.train_inputs.shape[1] == 6 and data.notes == ()
    good = data.train_inputs[data.train_targets == 1]
    assert {found.vocabulary[number] for number in good[:, 0].tolist()} == {"good"}
    assert (good[:, -1] == PADDING).all()
    known = set(data.train_inputs.flatten().tolist())
    assert set(data.test_inputs.flatten().tolist()) <= known | {UNKNOWN}


@pytest.mark.parametrize("missing", ["", "  ", "NaN", "nan", "NA", "N/A", "null", "None", "<NA>"])
def test_rows_without_a_label_or_a_text_are_left_out_and_counted(tmp_path: Path, missing: str) -> None:
    rows = [*ROWS, ("unlabelled", missing), ("also not", missing), (missing, "yes")]
    with pytest.warns(UserWarning, match="2 rows left out: column 'label' is empty or NaN"):
        found = text_table(write(tmp_path / "a.csv", rows), 4)
    assert found.classes == ("no", "yes") and samples(found) == 40
    assert [note.split(":")[0] for note in found.data.notes] == ["1 row left out", "2 rows left out"]


def test_missing_values_of_json_are_null_and_nan_only(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": text, "label": label} for text, label in ROWS]
    rows += [
        {"text": "a", "label": None},
        {"text": "b", "label": float("nan")},
        {"text": "c"},
        {"label": "no"},
    ]
    rows += [{"text": f"d {number}", "label": "None"} for number in range(9)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(UserWarning, match="3 rows left out: column 'label' is null, NaN or empty"):
        found = text_table(path, 4)
    assert found.classes == ("None", "no", "yes") and samples(found) == 49


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([str(number) for number in range(12)], [str(number) for number in range(12)]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["1", "1.0", "2.0"], ["1", "2.0"]),
        (["10", "9", "other"], ["10", "9", "other"]),
        (["True", "False"], ["False", "True"]),
    ],
)
def test_labels_stay_what_they_are_in_the_order_of_their_numbers(
    tmp_path: Path, labels: list[str], classes: list[str]
) -> None:
    rows = [(f"text {number}", labels[number % len(labels)]) for number in range(200)]
    found = text_table(write(tmp_path / "a.csv", rows), 4)
    assert list(found.classes) == classes and samples(found) == 200
    assert found.data.validation is not None
    parts = (found.data.train_targets, found.data.validation.targets, found.data.test_targets)
    counts = torch.cat(parts).bincount(minlength=len(classes)).tolist()
    merged = {name: sum(float_or(other) == float_or(name) for _, other in rows) for name in classes}
    assert counts == [merged[name] for name in classes]


def float_or(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("1", " 2", "2", "3 ", "10"), ("1", "2", "3", "10")),
        ((" 1.0", "1", "2"), ("1", "2")),
        (("True", "true", "TRUE", "false", "False"), ("False", "TRUE")),
        (("yes", " yes"), (" yes", "yes")),
        (("True", "true", "maybe"), ("True", "maybe", "true")),
        (("True", "1", "False"), ("1", "False", "True")),
    ],
)
def test_labels_are_one_where_pandas_reads_one(
    tmp_path: Path, labels: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    rows = [(f"thing {number}", labels[number % len(labels)]) for number in range(60)]
    path = write(tmp_path / "a.csv", rows)
    assert text_table(path, 4).classes == classes
    assert len(set(pandas.read_csv(path)["label"])) == len(classes)


def test_booleans_of_json_and_their_texts_are_one_label(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    written = ("true", '"True"', '"true"', "false")
    path.write_text("\n".join(f'{{"text": "w{n} y", "label": {written[n % 4]}}}' for n in range(60)))
    assert text_table(path, 4).classes == ("False", "True")


@pytest.mark.parametrize("missing", ["NaN", '"NaN"', '"nan"'])
def test_nan_of_json_is_missing_quoted_or_not(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "a.jsonl"
    written = ('"yes"', '"no"', missing)
    path.write_text("\n".join(f'{{"text": "w{n} y", "label": {written[n % 3]}}}' for n in range(60)))
    with pytest.warns(UserWarning, match="20 rows left out: column 'label' is null, NaN or empty"):
        assert text_table(path, 4).classes == ("no", "yes")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoding": "base64"}, "encoding='base64' is unknown"),
        ({"encoding": "rot13"}, "encoding='rot13' is unknown"),
        ({"encoding": 5}, "encoding=5 is unknown"),
        ({"separator": 5}, "separator=5 must be one character"),
        ({"separator": '"'}, "must be one character, and no quote"),
        ({"text": ""}, "text='' must be the name of a column"),
        ({"label": None}, "label=None must be the name of a column"),
    ],
)
def test_settings_that_no_file_can_be_read_with_are_one_line(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",label\nx,a\ny,b\n")
    with pytest.raises(DataError, match=message):
        text_table(path, 4, **settings)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("suffix", "separator"), [(".csv", ","), (".csv", ";"), (".CSV", "\t"), (".tsv", "\t")]
)
def test_encodings_separators_and_quotes_of_spreadsheets_are_read(
    tmp_path: Path, encoding: str, suffix: str, separator: str
) -> None:
    odd = [('He said "no, never";\nsecond\tline, naïve 漢字', "yes")]
    path = write(tmp_path / f"a{suffix}", [*ROWS, *odd], encoding, delimiter=separator)
    found = text_table(path, 12)
    assert found.classes == ("no", "yes") and samples(found) == 41
    assert found.data.train_inputs.shape[1] == 12


def test_an_encoding_that_is_not_utf_8_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*ROWS, ("très bien", "yes")], "cp1252")
    with pytest.raises(
        DataError, match=r"a\.csv: cannot be read as utf-8; give its encoding, as encoding='cp1252'"
    ):
        text_table(path, 4)
    assert samples(text_table(path, 4, encoding="cp1252")) == 41


def test_long_fields_and_halves_of_pairs_are_read(tmp_path: Path) -> None:
    assert samples(text_table(write(tmp_path / "a.csv", [*ROWS, ("word " * 40_000, "yes")]), 4)) == 41
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    path.write_text("\n".join([*lines, '{"text": "\\ud800", "label": "yes"}']))
    assert samples(text_table(path, 4)) == 41


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "sentence,label\na,b\n", "has no column 'text'; it has sentence, label"),
        ("a.csv", "text,text,label\na,b,c\n", "has column 'text' 2 times; rename all but one"),
        ("a.csv", "text,label\na,b,c\nd,e,f\n", "rows have more fields than the 2 columns of the head line"),
        ("a.csv", "text,label\na,b\nd,e,f\n", "cannot be read as csv: .*Expected 2 fields in line 3, saw 3"),
        ("a.csv", 'text,label\n"a,b\nd,e\n', "cannot be read as csv: .*EOF inside string"),
        ("a.csv", "text,label\n", "column 'label' has no label; classification requires two"),
        ("a.csv", "", "has no column 'text'; it has none"),
        (
            "a.csv",
            "text,label\na,x\nb,x\n",
            "column 'label' has only the label 'x'; classification requires two",
        ),
        ("a.jsonl", '{"text": "a"}\n', "has no column 'label'; it has text"),
        ("a.jsonl", '{"text": "a"\n', "cannot be read as jsonl: line 1 is not a JSON object"),
        ("a.jsonl", "[1, 2]\n", "cannot be read as jsonl: line 1 is not a JSON object"),
        ("a.jsonl", '{"text": ["a"], "label": 1}\n', "line 1: 'text' is list, not a text or a number"),
        ("a.xlsx", "PK", r"a table of texts is one of \.csv, \.tsv, \.jsonl"),
    ],
)
def test_tables_that_cannot_be_read_are_one_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        text_table(tmp_path / name, 4)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_file_that_is_missing_and_settings_that_cannot_be_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: no such file"):
        text_table(tmp_path / "no.csv", 4)
    path = write(tmp_path / "a.csv", ROWS)
    wrong: list[tuple[int, dict[str, Any]]] = [(0, {}), (4, {"words": 0}), (4, {"separator": ", "})]
    for length, settings in [*wrong, (4, {"encoding": "no-such"})]:
        with pytest.raises(DataError, match=r"must be|unknown"):
            text_table(path, length, **settings)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_further_columns_are_those_of_the_test_samples(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"text": f"{text} {number}", "label": label, "region": ("north", "south")[number % 2]}
        for number, (text, label) in enumerate(ROWS)
    ]
    path = tmp_path / f"texts{suffix}"
    frame = pandas.DataFrame(rows)
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    found = text_table(path, length=6, columns=["region"])
    assert len(found.columns["region"]) == len(found.data.test_inputs)
    assert set(found.columns["region"]) == {"north", "south"}
    with pytest.raises(DataError, match="has no column 'season'"):
        text_table(path, length=6, columns=["region", "season"])
