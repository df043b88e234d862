"""Multicut and lifted multicut: in core, the part of it that a superblock may contract, energy and a lower bound.

Costs are positive where an edge attracts; the energy of a partition is the sum of the costs of cut edges, and low is
good. Local edges join touching nodes, and a cluster has to be connected by them. Lifted edges (Horňáková, Lange and
Andres 2017) join any two nodes; they count in the energy and connect nothing.

**The solver** contracts what several solutions agree on, again and again. (1) Greedy additive contraction (Keuper et
al. 2015, section 4.1) gives a solution; nodes move to other clusters and clusters join as long as the energy falls.
(2) The same with noise on the costs in the greedy contraction gives a few more. (3) Nodes that are together in all
solutions, and connected by local edges within them, are contracted; the smaller problem is solved in the same way,
until the solutions agree; its solution is improved by moves of nodes. This is the ensemble learning of Ovelgönne and
Geyer-Schulz 2012 ("core groups") applied to multicuts; a fusion move (Beier et al. 2015) is its case of two solutions
and one round. The energy is at most that of greedy additive contraction improved by moves, and at most that of joining
or of cutting everything. It was no higher than that of bioimage_cpp's Kernighan-Lin after the same start on all
problems of the tests, and much faster where costs say little: there that one takes minutes on 10^5 nodes, and can
return a higher energy than it was given.

**Blocks.** Domain decomposition (Pape et al. 2017) contracts the nodes that a solution of a block with a halo puts
together. Here a block contracts only what several solutions of it agree on, which is step 3 above: what a block hands
to the level above is what the in-core solver hands to its next round, except that its solutions know less of what is
far away; and it asks for more of them, since what it contracts is final. It is not exact: on realistic
problems, the energy was at most 0.04 % above that in core; on tiny random lifted ones by 0.05 % on average and by 4.8 %
at most.

**Results are the same for any number of threads**, and for any order of the edges up to the rounding of sums of
parallel ones; they depend on the order of the nodes where there are ties, as does the library's greedy contraction.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import bioimage_cpp as bic
import numpy as np
from numpy.typing import NDArray

from bigseg.kernels import multicut_moves as moves
from bigseg.kernels.agglomerate import Contraction
from bigseg.kernels.cycle_packing import pack_cycles

Pairs = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Labels = NDArray[np.int64]

_SOLUTIONS = 4
"""Solutions that have to agree in a round of the solver, the one without noise included. More leave more to the next
round, reach lower energies and take longer: with six, 0.3 % lower on problems whose costs say little, in twice the
time; on others nothing changes."""

_SOLUTIONS_OF_BLOCK = 6
"""The same for what a block contracts. As many as in core would leave gaps of 0.1 to 0.4 % on problems whose costs say
little, because nothing undoes what a block has contracted; where costs say something, more agree just the same."""

_NOISE = 0.3
"""Standard deviation of the noise, of the mean magnitude of the costs. Half as much or twice as much finds less."""

_LEAST_SHRINKAGE = 0.95
"""A round that would leave more of the nodes than this is the last: there is little that its solutions agree on."""

_CYCLES = (3, 4, 5, 6, 8, 10)
"""Most edges of the cycles that each pass of the bound looks for. Up to 32, it takes several times as long and comes
0.02 to 0.4 % of the energy closer."""

_VISITS = 200
"""Nodes that the search for a cycle looks at."""


class _Graph(NamedTuple):
    """n nodes; pairs (m, 2) with ``u < v``, ascending, each once; cost of each, and whether its ends touch."""

    n: int
    pairs: Pairs
    costs: Floats
    local: Bools

    def energy(self, labels: Labels) -> float:
        """See :func:`energy`."""
        return energy(self.pairs, self.costs, labels)


def lifted_multicut(
    number_of_nodes: int, pairs: NDArray[np.uint64], costs: Floats, local: Bools, *, threads: int = 1
) -> Labels:
    """Solve a multicut, lifted or not, in core.

    Args:
        number_of_nodes: nodes are 0 … n - 1; n < 2^31.
        pairs: (m, 2) integer edges, local and lifted, in any order; parallel ones add up.
        costs: (m,) float64; cutting an edge costs this much, so positive costs join.
        local: (m,) bool; False for lifted edges.
        threads: worker threads; the result does not depend on it.

    Returns:
        (n,) int64 cluster of each node, named by its smallest node; each is connected by local edges.
    """
    graph = _new_graph(number_of_nodes, pairs, costs, local)
    return _named(_no_worse_than_joining(graph, _solve(graph, threads)))


def contract_multicut(
    number_of_nodes: int,
    pairs: NDArray[np.uint64],
    costs: Floats,
    local: Bools,
    owned: Bools,
    *,
    threads: int = 1,
) -> Contraction:
    """Contract the owned nodes that several solutions of the whole problem put together.

    Args:
        number_of_nodes: nodes are 0 … n - 1 in ascending order of their names; n < 2^31.
        pairs: (m, 2) integer edges in any order; parallel ones add up.
        costs: (m,) float64.
        local: (m,) bool; False for lifted edges.
        owned: (n,) bool nodes that may be merged; the others are the context.
        threads: worker threads; the result does not depend on it.

    Returns:
        Clusters, each connected by local edges between its own nodes; and which are settled: owned, without an edge,
        local or lifted, to another cluster that attracts in sum. Among the given edges; what else there is the caller
        has to know.
    """
    graph = _new_graph(number_of_nodes, pairs, costs, local)
    mine = owned[graph.pairs].all(axis=1)
    solutions = _solutions(graph, moves.in_lists(*graph), 0, threads, of_block=True)
    clusters = moves.components(graph.n, graph.pairs, _agreed(graph, solutions) & mine)
    between = _contract(graph, clusters)
    settled = np.ones(between.n, np.bool_)
    settled[between.pairs[between.costs > 0]] = False
    return Contraction(_named(clusters), owned & settled[clusters])


def energy(pairs: NDArray[np.integer], costs: Floats, clusters: NDArray[np.integer]) -> float:
    """Sum of the costs of the edges, local and lifted, between different clusters.

    Args:
        pairs: (m, 2) integer edges; parallel ones count each.
        costs: (m,) float64.
        clusters: (n,) cluster of each node.
    """
    ends = np.asarray(pairs, np.int64)
    return float(costs[clusters[ends[:, 0]] != clusters[ends[:, 1]]].sum())


def lower_bound(number_of_nodes: int, pairs: NDArray[np.uint64], costs: Floats) -> float:
    """A number that the energy of no partition is below, by iterated cycle packing.

    Lange, Karrenbauer and Andres 2018, "Partial Optimality and Fast Lower Bounds for Weighted Correlation Clustering",
    algorithm ICP: the sum of the negative costs, and what disjoint shares of cycles with one repulsive edge pay on top.
    Cycles of up to 10 edges are looked for, near their repulsive edge, so time is nearly linear.

    *Parts add up.* If the edges of a problem are shared out to several, the sum of the bounds of these is a bound of
    the problem: a partition of all nodes is one of the nodes of each part, and its energy is the sum of what it costs
    in each. So the bound of a volume can be the sum over its blocks, edges between blocks in any of them.

    *Lifted problems.* Give local and lifted edges alike. A partition with clusters connected by local edges is a
    partition, so no lifted multicut is below the bound of the multicut over all edges. It is weaker for them, for it
    does not know that a cluster must be connected by local edges.

    Args:
        number_of_nodes: nodes are 0 … n - 1.
        pairs: (m, 2) integer edges in any order; parallel ones add up.
        costs: (m,) float64.

    Returns:
        The bound; rounding of sums aside (some 10^-16 of the sum of the magnitudes).
    """
    graph = _new_graph(number_of_nodes, pairs, costs, np.ones(len(costs), np.bool_))
    least = float(graph.costs[graph.costs < 0].sum())
    return least + pack_cycles(graph.n, graph.pairs, graph.costs.copy(), np.array(_CYCLES), _VISITS)


def _solve(graph: _Graph, threads: int, round_: int = 0) -> Labels:
    """Solve, by rounds of solutions and contraction of what they agree on; labels 0 … k - 1."""
    lists = moves.in_lists(*graph)
    solutions = _solutions(graph, lists, round_, threads)
    clusters = moves.components(graph.n, graph.pairs, _agreed(graph, solutions))
    contracted = _contract(graph, clusters)
    best = solutions[0]
    if contracted.n == int(best.max(initial=-1)) + 1 or contracted.n > _LEAST_SHRINKAGE * graph.n:
        return best
    labels = _improve(graph, lists, _solve(contracted, threads, round_ + 1)[clusters])
    return labels if graph.energy(labels) <= graph.energy(best) else best


def _solutions(graph: _Graph, lists: moves.Lists, seed: int, threads: int, *, of_block: bool = False) -> list[Labels]:
    """A solution, and others of which greedy additive contraction saw costs with noise."""
    generator = np.random.default_rng(seed)
    scale = _NOISE * np.abs(graph.costs).mean() if len(graph.costs) else 0.0
    number = _SOLUTIONS_OF_BLOCK if of_block else _SOLUTIONS
    noises = [scale * generator.normal(size=len(graph.costs)) for _ in range(number - 1)]

    def solve(noise: Floats | None) -> Labels:
        labels = _greedy(graph if noise is None else graph._replace(costs=graph.costs + noise))
        return _improve(graph, lists, labels)

    if threads == 1:
        return [solve(noise) for noise in (None, *noises)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(solve, (None, *noises)))


def _agreed(graph: _Graph, solutions: list[Labels]) -> Bools:
    """Local edges whose ends are together in all solutions."""
    agreed = graph.local.copy()
    for labels in solutions:
        agreed &= _joined(graph, labels)
    return agreed


def _improve(graph: _Graph, lists: moves.Lists, labels: Labels) -> Labels:
    """Move nodes and join clusters while the energy falls."""
    best, least = labels, graph.energy(labels)
    while True:
        moved = best.astype(np.int32)
        moves.move_nodes(lists, moved)
        # A node that left may have been all that held its cluster together.
        parts = moves.components(graph.n, graph.pairs, graph.local & _joined(graph, moved))
        labels = _greedy(_contract(graph, parts))[parts]
        found = graph.energy(labels)
        if not found < least - 1e-9 * abs(least):
            return best
        best, least = labels, found


def _greedy(graph: _Graph) -> Labels:
    """Greedy additive contraction; labels 0 … k - 1 in order of their smallest nodes."""
    if not (graph.costs[graph.local] > 0).any():
        return np.arange(graph.n)
    local, pairs = graph.local, graph.pairs.astype(np.uint64)
    base = bic.graph.UndirectedGraph.from_unique_edges(graph.n, np.ascontiguousarray(pairs[local]))
    if local.all():
        objective = bic.graph.multicut.MulticutObjective(base, graph.costs)
        found = bic.graph.multicut.GreedyAdditiveMulticut().optimize(objective)
    else:
        objective = bic.graph.lifted_multicut.LiftedMulticutObjective(
            base, graph.costs[local], lifted_uvs=pairs[~local], lifted_costs=graph.costs[~local]
        )
        found = bic.graph.lifted_multicut.LiftedGreedyAdditiveMulticut().optimize(objective)
    return moves.components(graph.n, graph.pairs, local & _joined(graph, np.asarray(found)))


def _no_worse_than_joining(graph: _Graph, labels: Labels) -> Labels:
    """Join each component of the graph in which that costs less than what is cut; edges between components are cut."""
    component = moves.components(graph.n, graph.pairs, graph.local)
    ends = component[graph.pairs]
    inside = (ends[:, 0] == ends[:, 1]) & ~_joined(graph, labels)
    cost = np.bincount(ends[inside, 0], graph.costs[inside], int(component.max(initial=-1)) + 1)
    joins = cost > 0
    labels = np.where(joins[component], graph.n + component, labels)
    return moves.components(graph.n, graph.pairs, graph.local & _joined(graph, labels))


def _new_graph(n: int, pairs: NDArray[np.uint64], costs: Floats, local: Bools) -> _Graph:
    if n >= 2**31:
        raise ValueError(f"{n} nodes: one solve takes fewer than 2^31")
    ends = np.asarray(pairs, np.int64).reshape(-1, 2)
    return _contract(_Graph(n, ends, np.asarray(costs, np.float64), np.asarray(local, np.bool_)), np.arange(n))


def _contract(graph: _Graph, labels: Labels) -> _Graph:
    """The graph of the clusters 0 … k - 1; costs add up, and what one local edge touches, touches."""
    n = int(labels.max(initial=-1)) + 1
    ends = labels[graph.pairs]
    kept = ends[:, 0] != ends[:, 1]
    ends, costs, local = ends[kept], graph.costs[kept], graph.local[kept]
    key = ends.min(axis=1, initial=n) * n + ends.max(axis=1, initial=-1)
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    pairs = np.stack([key[first] // max(n, 1), key[first] % max(n, 1)], axis=1)
    if not len(first):
        return _Graph(n, pairs, costs, local)
    return _Graph(n, pairs, np.add.reduceat(costs[order], first), np.logical_or.reduceat(local[order], first))


def _joined(graph: _Graph, labels: NDArray[np.integer]) -> Bools:
    return np.asarray(labels[graph.pairs[:, 0]] == labels[graph.pairs[:, 1]], np.bool_)


def _named(labels: Labels) -> Labels:
    """Clusters 0 … k - 1 named by their smallest nodes."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int64)
