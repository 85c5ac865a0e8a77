"""Every operator that this PyTorch has is classified once, and an operator that is new is unknown."""

from __future__ import annotations

from collections import Counter

import torch

from bench.instruments import operators
from bench.instruments.flop_table import has_formula
from bench.instruments.operators import kind_of, may_compute


def dispatched() -> list[tuple[str, str, str]]:
    """Return what PyTorch itself lists: namespace, name, full name with the overload."""
    parts = [(*full.partition("::")[::2], full) for full in torch._C._dispatch_get_all_op_names()]
    return [(namespace, name.partition(".")[0], full) for namespace, name, full in parts]


def is_composite(full: str) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(full, "CompositeImplicitAutograd"))


def test_every_operator_of_aten_is_in_one_list_or_runs_as_others_that_are() -> None:
    listed = operators._names(operators._UNKNOWN) | operators._nothing("aten")
    lacking = [
        full
        for namespace, name, full in dispatched()
        if namespace == "aten"
        and not has_formula(namespace, name)
        and not {name, operators._stem(name)} & listed
        and not is_composite(full)
    ]
    assert lacking == []


def test_no_operator_is_in_two_lists() -> None:
    entries = [name for names in operators._NONE.values() for name in names.split()]
    entries += operators._UNKNOWN.split()
    assert [name for name, times in Counter(entries).items() if times > 1] == []
    assert [name for name in entries if has_formula("aten", name)] == []


def test_what_is_said_to_run_as_other_operators_has_no_kernel_of_its_own() -> None:
    wrong = [
        full
        for space, name, full in dispatched()
        if kind_of(space, name) == "parts" and not is_composite(full)
    ]
    assert wrong == []


def test_an_operator_that_no_list_has_is_unknown_whatever_it_is_called() -> None:
    assert kind_of("aten", "add_of_a_later_pytorch") == "unknown"
    assert kind_of("quantized", "anything_new") == "unknown"
    assert kind_of("mylibrary", "add") == "unknown"
    assert kind_of("higher_order", "cond") == "unknown"


def test_variants_share_the_entry_of_what_they_vary_unless_they_compute() -> None:
    for name in (
        "add_",
        "_foreach_add_",
        "view_copy",
        "gelu_backward",
        "_softmax_backward_data",
        "__rshift__",
    ):
        assert kind_of("aten", name) == "none"
    for name in ("addmm_", "_foreach_mm", "convolution_backward", "matmul_backward"):
        assert kind_of("aten", name) == "formula"
    for name in ("_cdist_backward", "_fft_c2c", "linalg_qr", "_trilinear"):
        assert kind_of("aten", name) == "unknown"


def test_composites_compute_where_their_parts_do() -> None:
    for name in ("lstm", "scaled_dot_product_attention", "conv2d", "einsum"):
        assert kind_of("aten", name) in ("parts", "formula")
        assert may_compute("aten", name)
    assert kind_of("aten", "dropout") == "parts"
    assert not may_compute("aten", "dropout")
