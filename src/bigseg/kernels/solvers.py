"""In-core solver for what cannot be solved piece by piece: dense node ids and weights in, cluster of each node out.

What can be is in :mod:`bigseg.kernels.agglomerate`.
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
    graph = bic.graph.UndirectedGraph.from_unique_edges(number_of_nodes, np.ascontiguousarray(pairs))
    return np.asarray(policy.optimize(graph, weights, edge_sizes=sizes))
