"""From boundary probabilities on edges to signed weights: positive joins, negative separates."""

from __future__ import annotations

import numpy as np

_P_MIN = 0.001
"""Probabilities are squeezed into [_P_MIN, 1 - _P_MIN], so that log odds stay finite."""


def linear_weights(probability: np.ndarray, beta: float) -> np.ndarray:
    """``(1 - beta) - p``: positive where the boundary probability is below ``1 - beta``.

    Linear weights are what GASP's average linkage is defined on (Bailoni et al. 2022): the mean of the weights of a
    merged edge is the weight of its mean probability, whatever parts a block face cut it into.

    Args:
        probability: (n,) mean boundary probability of each edge.
        beta: bias in (0, 1); larger values separate more.
    """
    return (1 - beta) - probability


def log_odds_costs(probability: np.ndarray, beta: float, size: np.ndarray, size_weight: float) -> np.ndarray:
    """``(log((1 - p) / p) + log((1 - beta) / beta)) · size^size_weight``, the costs of a multicut.

    The probabilistic model of Andres et al. 2012 as used by Beier et al. 2017; the weighting with the contact area is
    not divided by the largest area, as is often done, because a common factor does not change the optimum and the
    largest area of a whole volume is nothing that a block can know.

    Args:
        probability: (n,) mean boundary probability of each edge.
        beta: bias in (0, 1); larger values separate more.
        size: (n,) contact area of each edge in voxel faces.
        size_weight: exponent of the size; 0 gives every edge the same weight.
    """
    p = _P_MIN + (1 - 2 * _P_MIN) * probability
    return np.asarray((np.log((1 - p) / p) + np.log((1 - beta) / beta)) * size**size_weight)
