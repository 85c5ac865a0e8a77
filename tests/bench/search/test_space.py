"""What a search chooses from by itself, and what it is given."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.search.space import Candidate, is_control, make_space
from techniques.compression import COMPRESSIONS
from techniques.registry import TechniqueError


def test_steps_that_only_zero_weights_are_left_out_where_dense_kernels_decide() -> None:
    fast = make_space(by_structure=True, backends=["cpu-eager"])
    assert {"prune-channels:0.5", "low-rank:0.5"} <= set(fast.steps)
    assert not [text for text in fast.steps if text.startswith(("prune-magnitude", "share-weights"))]
    small = make_space(by_structure=False, backends=["cpu-eager"])
    assert {"prune-magnitude:0.8", "share-weights:4"} <= set(small.steps)


@pytest.mark.parametrize(
    "name", ["finetune", "prune-random", "prune-channels-random", "remove-layers-random", "student"]
)
def test_controls_are_only_compared_with(name: str) -> None:
    assert is_control(COMPRESSIONS.get(name))
    assert not [text for text in make_space(by_structure=False).steps if text.partition(":")[0] == name]


@pytest.mark.parametrize("name", ["prune-magnitude", "prune-channels", "low-rank", "distill"])
def test_what_has_a_control_is_none_itself(name: str) -> None:
    assert not is_control(COMPRESSIONS.get(name))


def test_places_are_the_pairs_that_have_a_kernel() -> None:
    space = make_space(by_structure=True, backends=["cpu-eager", "onnxruntime"])
    assert {("", "cpu-eager"), ("int8-dynamic", "cpu-eager"), ("int8-static", "onnxruntime")} <= {
        *space.placements
    }
    assert ("int8-static", "cpu-eager") not in space.placements
    half = make_space(by_structure=True, precision="bf16", backends=["cpu-eager"])
    assert ("int8-weight", "cpu-eager") in half.placements


def test_what_is_named_is_taken_in_its_canonical_spelling() -> None:
    space = make_space(
        by_structure=True,
        steps=["prune-magnitude", "distill:0.50"],
        formats=["int8-static"],
        backends=["openvino"],
    )
    assert space.steps == ("prune-magnitude:0.5", "distill:0.5")
    assert set(space.chains) == {"prune-magnitude:0.5+distill:0.5", "distill:0.5+prune-magnitude:0.5"}
    assert len(space) == 5 * 2


def test_a_chain_neither_undoes_itself_nor_repeats_one_way() -> None:
    steps = ["prune-channels:0.5", "prune-channels-taylor:0.25", "prune-magnitude:0.5", "low-rank:0.5"]
    chains = make_space(by_structure=False, steps=steps, backends=["cpu-eager"]).chains
    assert "prune-channels:0.5+prune-channels-taylor:0.25" not in chains
    assert "prune-magnitude:0.5+low-rank:0.5" not in chains  # it would fill the zeros
    assert "low-rank:0.5+prune-magnitude:0.5" in chains


def test_a_candidate_is_a_recipe_on_a_backend() -> None:
    both = Candidate("prune-channels:0.5", "int8-static", "openvino")
    assert both.compression == "prune-channels:0.5+int8-static" and str(both).endswith("on openvino")
    assert Candidate("", "", "openvino").compression == "none"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"steps": ["int8-static"]}, "--step: 'int8-static' is no step"),
        ({"formats": ["prune-channels:0.5"]}, "--format: 'prune-channels:0.5' is no format"),
        ({"backends": ["cpu-eagre"]}, "did you mean 'cpu-eager'"),
        ({"backends": ["onnxruntime"], "precision": "fp64", "formats": ["fp8"]}, "."),
    ],
)
def test_what_is_neither_is_refused(words: dict[str, list[str]], said: str) -> None:
    try:
        make_space(by_structure=True, **words)  # type: ignore[arg-type]
    except (BenchError, TechniqueError) as error:
        assert said in str(error)
