"""Signed weights of edges, against elf."""

from __future__ import annotations

import numpy as np
import pytest
from elf.segmentation.multicut import compute_edge_costs
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.kernels.costs import linear_weights, log_odds_costs

BETAS = st.floats(0.02, 0.98)
PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array)


@given(PROBABILITIES, BETAS)
def test_weights_join_below_and_separate_above_one_minus_beta(probability, beta):
    probability = probability[abs(probability - (1 - beta)) > 0.01]
    size = np.full(len(probability), 7.0)
    expected = np.sign(1 - beta - probability)
    np.testing.assert_array_equal(np.sign(linear_weights(probability, beta)), expected)
    np.testing.assert_array_equal(np.sign(log_odds_costs(probability, beta, size, 1.0)), expected)


@given(PROBABILITIES, BETAS)
@settings(deadline=None)
def test_log_odds_without_sizes_are_those_of_elf(probability, beta):
    found = log_odds_costs(probability, beta, np.full(len(probability), 5.0), 0.0)
    np.testing.assert_allclose(found, compute_edge_costs(probability, beta=beta), rtol=1e-6, atol=1e-6)


@given(PROBABILITIES, BETAS, st.floats(0, 2))
def test_costs_grow_with_the_power_of_the_size(probability, beta, size_weight):
    one = log_odds_costs(probability, beta, np.ones(len(probability)), size_weight)
    many = log_odds_costs(probability, beta, np.full(len(probability), 9.0), size_weight)
    np.testing.assert_allclose(many, one * 9.0**size_weight)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), min_size=1, max_size=8), BETAS)
def test_the_mean_linear_weight_is_the_weight_of_the_mean_probability(parts, beta):
    probability, count = np.array(parts).T
    merged = linear_weights(np.average(probability, weights=count)[None], beta)
    assert merged[0] == pytest.approx(np.average(linear_weights(probability, beta), weights=count))


def test_certain_edges_have_finite_costs():
    costs = log_odds_costs(np.array([0.0, 1.0]), 0.5, np.ones(2), 1.0)
    assert np.isfinite(costs).all()
    assert costs[0] == pytest.approx(-costs[1])
