"""The mutex watershed on a graph (Wolf et al. 2019, algorithm 1), piece by piece.

The sequential algorithm takes edges in descending order of magnitude; an attractive edge joins the clusters of its ends
unless a mutex stands between them, a repulsive edge puts one there. A mutex is never written down here: that the
strongest of all edges between two clusters is repulsive says the same.

**Theorem.** The partition is that of greedy agglomeration with the linkage ``abs_max``, in which the weight between two
clusters is that of the strongest edge between them (Bailoni et al. 2022, section 3). *Proof.* Take the clusters A and B
at the two ends of an attractive edge e when its turn comes. If a stronger edge between A and B is repulsive, it has put
a mutex: its ends were in different clusters then as they are now. If the strongest one is attractive, there was no
mutex when its turn came, between clusters that were parts of A and B, so it has joined them, unless it is e itself. So
e joins exactly if it is the strongest edge between A and B; and no pair attracts more strongly, as its strongest edge
would have joined it earlier by the same argument. ∎ That linkage is reducible, so both theorems of
:mod:`bigseg.kernels.agglomerate` hold: blocks contract pairs that are each other's strongest *attracting* neighbour,
repulsive pairs need not be compared, and parallel and long-range edges are edges like others.

**Ties.** Of equal magnitudes, all repulsive edges come before all attractive ones, and among the attractive ones that
could join, the one between the clusters with the later names (see :mod:`bigseg.kernels.agglomerate`). Any order of
equal edges is a run of the sequential algorithm; this one does not depend on blocks.

**What a repulsive edge decides.** If the strongest edge of a cluster A, of all its edges, is a repulsive one to B, then
A and B end in different clusters. *Proof.* To join them, an attractive pair stronger than that edge would have to
merge, and A, whose edges are all weaker, would have to have merged before. But the weights of greedy merges never
increase. ∎ So the mutex is certain at once; the edge must still be carried, as the evidence for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.agglomerate import Contraction, contract_linkage


def contract_mutex(
    number_of_nodes: int,
    pairs: NDArray[np.uint64],
    weights: NDArray[np.float64],
    owned: NDArray[np.bool_] | None = None,
    *,
    threads: int = 1,
) -> Contraction:
    """Contract what is certain in the mutex watershed; if all nodes are owned, solve it.

    Args:
        number_of_nodes: nodes are 0 … n - 1 in ascending order of their names; n < 2^31.
        pairs: (m, 2) integer edges, local and long-range, in any order; a pair may have several.
        weights: (m,) float64; positive attracts, negative repels, 0 does nothing.
        owned: (n,) bool nodes that may be merged; all edges incident to them must be given. None owns all.
        threads: worker threads; the result does not depend on it.

    Returns:
        Clusters, and which of them are final.
    """
    return contract_linkage(number_of_nodes, pairs, weights, owned, linkage="abs_max", threads=threads)
