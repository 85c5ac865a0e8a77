"""Every operator that this ONNX has is classified once, and an operator that is new is unknown."""

from __future__ import annotations

from collections import Counter

import onnx

from bench.instruments import onnx_operators
from bench.instruments.onnx_formulas import FORMULAS
from bench.instruments.onnx_operators import full_name, kind_of


def listed() -> list[tuple[str, str]]:
    tables = (onnx_operators.NONE, onnx_operators.UNKNOWN, onnx_operators.GRAPHS)
    entries = [(domain, name) for table in tables for domain in table for name in table[domain].split()]
    return [*entries, *FORMULAS]


def test_every_operator_that_onnx_defines_is_in_one_list() -> None:
    defined = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas()}
    assert defined - set(listed()) == set()


def test_no_operator_is_in_two_lists() -> None:
    assert [entry for entry, times in Counter(listed()).items() if times > 1] == []


def test_an_operator_that_no_list_has_is_unknown_whatever_its_name() -> None:
    assert kind_of("", "AddOfALaterOnnx") == "unknown"
    assert kind_of("strange", "MatMul") == kind_of("strange", "Add") == "unknown"
    assert kind_of("com.microsoft", "AddOfALaterRuntime") == "unknown"
    assert kind_of("ai.onnx.ml", "MatMul") == "unknown"


def test_the_two_names_of_onnx_s_own_domain_are_one() -> None:
    assert kind_of("", "MatMul") == kind_of("ai.onnx", "MatMul") == "formula"
    assert full_name("", "DFT") == full_name("ai.onnx", "DFT") == "DFT"
    assert full_name("com.microsoft", "MoE") == "com.microsoft.MoE"
