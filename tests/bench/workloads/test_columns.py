"""Columns of the data by which test samples are grouped."""

from __future__ import annotations

from collections import Counter

import torch

from bench.workloads.columns import text_length, thirds
from bench.workloads.medical_diagnosis import BREAST_CANCER_MLP
from bench.workloads.regression import DIABETES_MLP
from bench.workloads.workload import Data


def test_thirds_have_as_many_each() -> None:
    found = thirds(torch.arange(30), ("low", "middle", "high"))
    assert Counter(found) == {"low": 10, "middle": 10, "high": 10} and found[0] == "low"


def test_equal_values_are_in_one_third() -> None:
    assert set(thirds(torch.ones(9), ("low", "middle", "high"))) == {"low"}


def test_a_text_is_as_long_as_it_has_words() -> None:
    texts = torch.tensor([[5, 0, 0, 0], [5, 5, 0, 0], [5, 5, 5, 5]])
    assert text_length(Data(texts, texts, texts, texts)) == {"length": ["short", "middle", "long"]}


def test_patients_are_grouped_by_what_the_data_say_of_them() -> None:
    data = DIABETES_MLP.data()
    found = DIABETES_MLP.columns(data)
    assert set(found["sex"]) == {"1", "2"} and set(found["age"]) == {"younger", "middle", "older"}
    cases = BREAST_CANCER_MLP.data()
    assert all(len(column) == len(cases.test_inputs) for column in BREAST_CANCER_MLP.columns(cases).values())
