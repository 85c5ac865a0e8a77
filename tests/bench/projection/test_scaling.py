"""The table of Hoffmann et al. (2022), and what lies between its rows."""

from __future__ import annotations

import pytest

from bench.projection.scaling import compute_optimal, expected_loss, optimal_parameters, optimal_tokens


@pytest.mark.parametrize(
    ("parameters", "tokens"), [(4e8, 8.0e9), (6.7e10, 1.5e12), (1.75e11, 3.7e12), (1e12, 21.2e12)]
)
def test_the_sizes_of_the_paper_s_table_have_its_tokens(parameters, tokens):
    assert optimal_tokens(parameters) == pytest.approx(tokens, rel=1e-9)


def test_sizes_beyond_the_table_keep_the_tokens_per_parameter_of_its_ends():
    assert optimal_tokens(4e7) == pytest.approx(8.0e8)
    assert optimal_tokens(1e14) == pytest.approx(216.2e13)


def test_chinchilla_is_the_size_that_spends_its_own_budget_best():
    budget = 6 * 70e9 * optimal_tokens(70e9)
    assert optimal_parameters(budget) == pytest.approx(70e9, rel=1e-6)


def test_gpt_3_was_trained_with_too_few_tokens_and_gopher_loses_to_chinchilla():
    gpt3 = compute_optimal(174.6e9, 300e9)
    assert gpt3.tokens > 10 * 300e9
    assert gpt3.parameters_for_budget < 174.6e9
    assert gpt3.optimal_loss < gpt3.loss
    # The paper's two models of the same compute.
    assert expected_loss(70e9, 1.4e12) < expected_loss(280e9, 300e9)


def test_without_tokens_at_hand_nothing_is_said_of_them():
    assert compute_optimal(1e9, None).loss is None
