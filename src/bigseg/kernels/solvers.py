"""In-core solvers for what cannot be solved piece by piece: dense node ids and weights in, cluster of each node out.

What can be is in :mod:`bigseg.kernels.agglomerate` and :mod:`bigseg.kernels.mutex`.
"""

from __future__ import annotations

import bioimage_cpp as bic
import numpy as np


def gasp(number_of_nodes: int, pairs: np.ndarray, weights: np.ndarray, sizes: np.ndarray, linkage: str) -> np.ndarray:
    """Agglomeration on a signed graph (Bailoni et al. 2022, algorithm 1).

    Args:
        number_of_nodes: nodes are 0 … n - 1.
        pairs: (m, 2) uint64 edges, smaller node first, ascending, each once.
        weights: (m,) float64 signed weights.
        sizes: (m,) float64 contact areas, which weight the mean linkage.
        linkage: mean, max, min, sum or abs_max.

    Returns:
        (n,) uint64 cluster of each node.
    """
    policy = bic.graph.agglomeration.GaspClusterPolicy(num_clusters_stop=1, linkage=linkage)
    return np.asarray(policy.optimize(_graph(number_of_nodes, pairs), weights, edge_sizes=sizes))


def multicut(number_of_nodes: int, pairs: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Multicut by greedy additive edge contraction, improved by Kernighan-Lin moves (Keuper et al. 2015).

    To compare with; bigseg's own is :func:`bigseg.kernels.multicut.multicut`. Where costs say little, this one takes
    minutes for 10^5 nodes and can return a higher energy than the greedy contraction (bioimage_cpp 0.9.0).

    Args:
        number_of_nodes: nodes are 0 … n - 1.
        pairs: (m, 2) uint64 edges, smaller node first, ascending, each once.
        costs: (m,) float64; cutting an edge costs this much, so positive costs join.

    Returns:
        (n,) uint64 cluster of each node.
    """
    objective = bic.graph.multicut.MulticutObjective(_graph(number_of_nodes, pairs), costs)
    bic.graph.multicut.GreedyAdditiveMulticut().optimize(objective)
    return np.asarray(bic.graph.multicut.KernighanLinMulticut().optimize(objective))


def _graph(number_of_nodes: int, pairs: np.ndarray) -> bic.graph.UndirectedGraph:
    return bic.graph.UndirectedGraph.from_unique_edges(number_of_nodes, np.ascontiguousarray(pairs))
