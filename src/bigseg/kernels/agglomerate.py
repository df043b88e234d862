"""Agglomeration of a signed graph that may be done piece by piece: any part of the graph contracts what is certain.

Greedy agglomeration (GASP without cannot-link constraints; Bailoni et al. 2022, algorithm 1) merges the strongest pair
of neighbouring clusters as long as one attracts. Here the same partition comes from merging, in any order, pairs that
are each other's strongest neighbour, so blocks can be solved by themselves and their results joined.

**Weights and order.** Each pair of neighbouring clusters has a weight made of the edges between them by the linkage:
their mean, largest or smallest, or the one of largest magnitude (the mutex watershed, below).
Pairs with weight > 0 attract; only these are compared. The stronger pair has the larger weight; of equal weights, the
pair whose *later* name is later, then the one whose earlier name is later. A cluster is named by its smallest node. So
among the neighbours of one cluster, equal weights prefer the neighbour with the later name. This is a strict total
order, since two pairs never have the same two names.

**Lemma (reducibility).** Let C and D merge to E, and let A be another cluster. Then the pair (A, E) is no stronger
than the stronger of (A, C) and (A, D). *Proof.* If only C is a neighbour of A, the weight is that of (A, C). Otherwise
a mean of means, the larger, the smaller or the one of larger magnitude is never above the larger of the two, and if
neither attracts, neither does (A, E). This holds for computed weights as well: sums are exact (below), and a rounded
quotient of exact numbers and a rounded sum with a constant are monotone functions of the exact mean. If the weight of
(A, E) equals that of the stronger, say (A, C), the names decide: E's name is the earlier one of C's and D's, so it is
not later than C's, and (A, E) is not stronger than (A, C). ∎ Preferring *earlier* names would break this last step: a
merger could make E's name earlier than that of A's present choice, and the partition would depend on the blocks.

**Theorem 1 (any order).** Call an attracting pair *ripe* if each is the other's strongest neighbour. Merging ripe
pairs until there are none gives one partition, whatever the order, and it is that of the greedy algorithm. *Proof.*
Two ripe pairs share no cluster. By the lemma, merging one leaves the other ripe: its weight is the same, and pairs that
compete with it have become no stronger. Merging both gives the same graph in either order, since statistics and names
combine associatively and commutatively. So merging is confluent (diamond property), and as it ends, its result is
unique. The strongest of all attracting pairs is ripe: hence the greedy algorithm is one such order, and no attracting
pair is left when none is ripe. ∎

**Theorem 2 (blocks).** Let superblocks own disjoint sets of nodes, and let each see *all* edges incident to the nodes
it owns, with the other ends in the state of any earlier level, for instance not merged at all. If each merges pairs
that are ripe in what it sees and owned by it, and the contracted graphs are joined and solved on, the partition is that
of the in-core solve. *Proof.* The clusters that a superblock sees are a state that ripe merges reach: its own, and
those of the others up to the earlier level. All pairs of its own clusters are in sight with complete statistics, so an
owned pair is ripe in sight exactly if it is ripe in that state. The other superblocks' merges are disjoint from its
own, so by theorem 1 its pairs are still ripe after those. ∎ Two foreign nodes that will merge may still be two
neighbours with an edge each; by the lemma their common edge will be no stronger than the stronger of the two. An
incomplete edge, of which another part is in another table, would break the argument: its weight could be that of no
state at all. Edges between foreign nodes need not be seen.

**Corollary (settled clusters).** A cluster without an attracting neighbour is final, and, since no pair with it can
ever attract, it and its edges can be left out of what is solved later.

**Linkages.** ``mean``, ``max``, ``min`` and ``abs_max`` satisfy the lemma. :data:`NOT_REDUCIBLE` says which do not.
With ``max`` the partition is the components of the attracting edges. On weights of which no two are equal, rounding of
means aside, the partition is that of ``bioimage_cpp.graph.agglomeration.GaspClusterPolicy`` with the same linkage; on
equal weights that one takes some pair first and the partitions differ as two runs on permuted nodes would.

**Mutex watershed** (Wolf et al. 2019, algorithm 1). The sequential algorithm takes edges in descending order of
magnitude; an attractive edge joins the clusters of its ends unless a mutex stands between them, a repulsive edge puts
one there. A mutex is never written down here: that the strongest of all edges between two clusters is repulsive says
the same. *Theorem 3.* The partition is that of greedy agglomeration with the linkage ``abs_max``, in which the weight
between two clusters is that of the strongest edge between them (Bailoni et al. 2022, section 3). *Proof.* Take the
clusters A and B at the two ends of an attractive edge e when its turn comes. If a stronger edge between A and B is
repulsive, it has put a mutex: its ends were in different clusters then as they are now. If the strongest one is
attractive, there was no mutex when its turn came, between clusters that were parts of A and B, so it has joined them,
unless it is e itself. So e joins exactly if it is the strongest edge between A and B; and no pair attracts more
strongly, as its strongest edge would have joined it earlier by the same argument. ∎ So blocks contract pairs that are
each other's strongest *attracting* neighbour, repulsive pairs need not be compared, and parallel and long-range edges
are edges like others. Of equal magnitudes, all repulsive edges come before all attractive ones, and among the
attractive ones that could join, the one between the clusters with the later names. Any order of equal edges is a run of
the sequential algorithm; this one does not depend on blocks.

*What a repulsive edge decides.* If the strongest edge of a cluster A, of all its edges, is a repulsive one to B, then A
and B end in different clusters. *Proof.* To join them, an attractive pair stronger than that edge would have to merge,
and A, whose edges are all weaker, would have to have merged before. But the weights of greedy merges never increase. ∎
So the mutex is certain at once; the edge must still be carried, as the evidence for it.

**Exact sums.** For ``mean``, ``weight_sum`` and ``count`` must be multiples of one power of two whose sums stay below
2^53 times it: then float64 adds them without rounding, and the weight of a pair does not depend on the order of
merging. Sums of uint8 values over voxel faces, in halves, are such numbers up to 10^13 faces; a product with a bias
such as 0.45 is not, which is why the bias is a separate ``offset``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels import agglomerate_chain as chain

LINKAGES = {"mean": chain.MEAN, "max": chain.MAX, "min": chain.MIN, "abs_max": chain.ABS_MAX}
"""Linkages that can be solved piece by piece with the result of an in-core solve."""

NOT_REDUCIBLE = {
    "sum": "the sum of two edges can be stronger than both, so a cluster's strongest neighbour can change when two "
    "others merge, and what a block may contract depends on what lies outside it"
}
"""Linkages that can only be solved in core, and why."""


class Contraction(NamedTuple):
    """What became of the nodes.

    Attributes:
        clusters: (n,) int64 smallest node of each node's cluster.
        settled: (n,) bool; the node's cluster is owned and has no attracting neighbour, so it is final.
    """

    clusters: NDArray[np.int64]
    settled: NDArray[np.bool_]


def contract_average(
    number_of_nodes: int,
    pairs: NDArray[np.uint64],
    weight_sum: NDArray[np.float64],
    count: NDArray[np.float64],
    owned: NDArray[np.bool_] | None = None,
    *,
    offset: float = 0.0,
    threads: int = 1,
) -> Contraction:
    """Contract what is certain under average linkage: ``weight = offset + weight_sum / count``, sums added on merging.

    bigseg's weight ``(1 - beta) - outside / (255 · count)`` is ``weight_sum = -outside``, ``count = 255 · count``,
    ``offset = 1 - beta``, with the same roundings as :func:`bigseg.kernels.costs.linear_weights`.

    Args:
        number_of_nodes: nodes are 0 … n - 1 in ascending order of their names; n < 2^31.
        pairs: (m, 2) integer edges in any order; parallel edges are parts of one.
        weight_sum: (m,) float64, exact (see the module).
        count: (m,) float64 > 0, exact.
        owned: (n,) bool nodes that may be merged; all edges incident to them must be given. None owns all.
        offset: added to each mean.
        threads: worker threads; more than one pays for graphs whose neighbouring nodes have near numbers. The
            result does not depend on it.

    Returns:
        Clusters, and which of them are final.
    """
    return _contract(number_of_nodes, pairs, weight_sum, count, owned, chain.MEAN, offset, threads)


def contract_linkage(
    number_of_nodes: int,
    pairs: NDArray[np.uint64],
    weights: NDArray[np.float64],
    owned: NDArray[np.bool_] | None = None,
    *,
    linkage: str,
    threads: int = 1,
) -> Contraction:
    """Contract what is certain under a linkage that picks one of the weights between two clusters.

    Args:
        number_of_nodes: as for :func:`contract_average`.
        pairs: (m, 2) integer edges in any order; parallel edges combine by the linkage.
        weights: (m,) float64; positive attracts.
        owned: as for :func:`contract_average`.
        linkage: max, min or abs_max (of equal magnitudes, the repulsive one), which is the mutex watershed.
        threads: as for :func:`contract_average`.

    Returns:
        Clusters, and which of them are final.

    Raises:
        ValueError: the linkage is none of these.
    """
    if linkage == "mean" or linkage not in LINKAGES:
        raise ValueError(f"linkage {linkage}: " + NOT_REDUCIBLE.get(linkage, "must be max, min or abs_max"))
    return _contract(number_of_nodes, pairs, weights, np.empty(0), owned, LINKAGES[linkage], 0.0, threads)


def _contract(
    n: int,
    pairs: NDArray[np.uint64],
    value: NDArray[np.float64],
    count: NDArray[np.float64],
    owned: NDArray[np.bool_] | None,
    linkage: int,
    offset: float,
    threads: int,
) -> Contraction:
    if n >= 2**31:
        raise ValueError(f"{n} nodes: one solve takes fewer than 2^31")
    # One type of each argument: numba compiles, and keeps on disk, one version of each function.
    owned = np.ones(n, np.bool_) if owned is None else np.ascontiguousarray(owned, np.bool_)
    pairs = np.ascontiguousarray(pairs, np.uint64)
    value, count = np.ascontiguousarray(value, np.float64), np.ascontiguousarray(count, np.float64)
    state = chain.new_state(n, pairs, value, count)
    if threads > 1:
        # Theorem 2 within one process: each thread owns a run of nodes, and what waits at the cuts is solved after.
        cuts = [n * i // threads for i in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:
            runs = [
                pool.submit(chain.merge_run, state, owned, cuts[i], cuts[i + 1], linkage, offset)
                for i in range(threads)
            ]
            for run in runs:
                run.result()
        state.waiting[:] = False
    chain.merge_run(state, owned, 0, n, linkage, offset)
    clusters = chain.clusters_of(state.parent)
    final = owned & (state.strongest == chain.NONE)
    return Contraction(clusters, final[clusters])
