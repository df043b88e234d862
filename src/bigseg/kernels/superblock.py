"""Superblocks of an octree: what each solves, and what it hands to the level above.

A superblock holds the clusters that may still merge, the edges between them, and the edges across its faces. The
latter stay edges between supervoxels until the superblock in which both ends lie; so a superblock needs nothing but its
children, and theorem 2 of :mod:`bigseg.kernels.agglomerate` holds, because the state in which nothing outside has
merged is as good as any. Clusters that are final leave, with the edges inside the superblock; edges of theirs across
its faces stay until the superblock is joined with the one beyond, for that one knows them by their supervoxels.

**The multicut** is not exact: what a superblock contracts depends on what it knows of its surroundings. It solves its
nodes with a halo of context, the nodes that lie some steps away in the children of its neighbours, and contracts only
what it owns (:mod:`bigseg.kernels.multicut`). All costs between two superblocks are exact all the same, since the edges
across faces are carried along unmerged.

**Settled clusters of a multicut.** A cluster A leaves if, of the sums of costs to its own superblock's clusters and to
those in its context, and of its other edges one by one, none is positive. Later contractions add such sums up, so none
ever will be. Then some optimum, among the partitions that the contractions still allow, has A as an object of its own:
taking A out of an object changes the energy by the sum of its costs to the rest, which is not positive; the rest may
fall apart into pieces, but there is no edge between these. With lifted edges, there may be: two clusters that only a
lifted edge attracts can be worth a bridge that gains nothing itself. Such partitions are given up. Greedy additive
contraction does not find them either, as it never contracts a sum that is not positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.agglomerate import contract_average, contract_linkage
from bigseg.kernels.multicut import contract_multicut, lifted_multicut
from bigseg.kernels.signed_graph import Ids, SignedEdges, among, concatenate, contract_edges, follow

HALO = 3
"""Steps of context around a superblock of a multicut."""


@dataclass(frozen=True)
class Superblock:
    """The part of the graph that a superblock has to solve, or has solved.

    Attributes:
        nodes: (n,) uint64 names, ascending, of its clusters that may still merge.
        edges: edges between them; parallel ones are parts of one.
        crossing: edges of supervoxels across its faces, ``u`` in the superblock and ``v`` beyond.
        inside: (k,) uint64 cluster of each ``crossing.u``; not among the nodes if it is final.
    """

    nodes: Ids
    edges: SignedEdges
    crossing: SignedEdges
    inside: Ids


@dataclass(frozen=True)
class Objective:
    """What the partition is of.

    Attributes:
        linkage: mean, max, min, abs_max or multicut; abs_max is the mutex watershed, and a multicut with edges of
            count 0 is a lifted one.
        offset: for ``mean``, added to each mean.
        halo: for ``multicut``, local edges between a superblock and the farthest nodes of its context.
    """

    linkage: str
    offset: float = 0.0
    halo: int = HALO


def leaf(nodes: Ids, edges: SignedEdges) -> Superblock:
    """The superblock of one block.

    Args:
        nodes: (n,) uint64 its supervoxels, ascending.
        edges: all edges incident to them, each part of an edge once.
    """
    u_inside, v_inside = among(edges.u, nodes), among(edges.v, nodes)
    leaving, entering = edges.take(u_inside & ~v_inside), edges.take(v_inside & ~u_inside)
    crossing = concatenate([leaving, entering.turned()])
    return Superblock(nodes, edges.take(u_inside & v_inside), crossing, crossing.u)


def join(children: Sequence[Superblock]) -> Superblock:
    """The superblock that consists of others."""
    nodes = np.sort(np.concatenate([child.nodes for child in children]))
    crossing = concatenate([child.crossing for child in children])
    inside = np.concatenate([child.inside for child in children])
    ends, first = np.unique(crossing.u, return_index=True)
    between = among(crossing.v, ends)  # a child holds each edge that ends in it, so its end is some crossing.u
    once = between & (crossing.u < crossing.v)  # both children hold it
    found = crossing.take(once)
    new = SignedEdges(inside[once], inside[first[np.searchsorted(ends, found.v)]], found.value, found.count)
    new = new.take(among(new.u, nodes) & among(new.v, nodes))
    edges = concatenate([*(child.edges for child in children), new])
    return Superblock(nodes, edges, crossing.take(~between), inside[~between])


def solve(
    block: Superblock, objective: Objective, threads: int = 1, around: Superblock | None = None
) -> tuple[Ids, Superblock]:
    """Contract what is certain, or, for a multicut, what is likely.

    Args:
        block: nodes, and all edges incident to them.
        objective: what the partition is of.
        threads: see :func:`bigseg.kernels.agglomerate.contract_average`; the result does not depend on it.
        around: for a multicut, the superblock joined of the block's own children and those of its neighbours, or, on
            the lowest level, the leaf of its and its neighbours' supervoxels; more than the halo is not looked at. None
            where nothing lies around, so that all is solved. The other linkages need none.

    Returns:
        (n,) uint64 cluster of each of the nodes, named by its smallest supervoxel; and the superblock of the clusters.
    """
    if objective.linkage == "multicut":
        clusters, settled = _solve_multicut(block, objective, threads, around)
    else:
        clusters, settled = _solve_exactly(block, objective, threads)
    left = np.unique(clusters[~settled])
    edges = contract_edges(block.edges, block.nodes, clusters, objective.linkage)
    edges = edges.take(among(edges.u, left) & among(edges.v, left))
    return clusters, Superblock(left, edges, block.crossing, follow(block.inside, block.nodes, clusters))


def _solve_exactly(block: Superblock, objective: Objective, threads: int) -> tuple[Ids, NDArray[np.bool_]]:
    """Clusters of the nodes, and which are final, of an agglomeration."""
    open_ends = among(block.inside, block.nodes)
    outside = block.crossing.take(open_ends)
    edges = concatenate([block.edges, replace(outside, u=block.inside[open_ends])])
    names = np.union1d(block.nodes, outside.v)
    owned = among(names, block.nodes)
    pairs = edges.pairs(names)
    if objective.linkage == "mean":
        found = contract_average(
            len(names), pairs, edges.value, edges.count, owned, offset=objective.offset, threads=threads
        )
    else:
        found = contract_linkage(len(names), pairs, edges.value, owned, linkage=objective.linkage, threads=threads)
    return names[found.clusters[owned]], found.settled[owned]


def _solve_multicut(
    block: Superblock, objective: Objective, threads: int, around: Superblock | None
) -> tuple[Ids, NDArray[np.bool_]]:
    """Clusters of the nodes, and which are settled, of a multicut."""
    seen = near(block if around is None else around, block.nodes, objective.halo)
    edges, names = seen.edges, seen.nodes
    owned = among(names, block.nodes)
    problem = len(names), edges.pairs(names), edges.value, edges.count > 0
    if around is None and not len(seen.crossing):
        return names[lifted_multicut(*problem, threads=threads)], np.ones(len(names), np.bool_)
    found = contract_multicut(*problem, owned, threads=threads)
    clusters = names[found.clusters[owned]]
    attracted = follow(seen.inside[seen.crossing.value > 0], block.nodes, clusters)
    return clusters, found.settled[owned] & ~among(clusters, np.unique(attracted))


def near(around: Superblock, nodes: Ids, steps: int) -> Superblock:
    """The part of a superblock within some steps of local edges of some of its nodes.

    Args:
        around: the superblock.
        nodes: (n,) uint64 ascending; those of them that are not in the superblock are left out.
        steps: local edges to the farthest node that is kept.

    Returns:
        The nodes within reach and the edges between them. ``crossing`` and ``inside`` are all other edges of ``nodes``;
        in them, unlike in other superblocks, ends beyond may be clusters.
    """
    u, v = around.edges.pairs(around.nodes).T.astype(np.int64)
    own = among(around.nodes, nodes)
    local = around.edges.count > 0
    kept = own
    for _ in range(steps):
        grown = kept.copy()
        grown[v[local & kept[u]]] = True
        grown[u[local & kept[v]]] = True
        kept = grown
    leaving, entering = around.edges.take(own[u] & ~kept[v]), around.edges.take(own[v] & ~kept[u]).turned()
    mine = among(around.inside, around.nodes[own])
    crossing = concatenate([around.crossing.take(mine), leaving, entering])
    inside = np.concatenate([around.inside[mine], leaving.u, entering.u])
    return Superblock(around.nodes[kept], around.edges.take(kept[u] & kept[v]), crossing, inside)


def rim(block: Superblock, halo: int) -> Superblock:
    """The part of a superblock that a neighbour with a halo of so many steps can see, or is linked to.

    A path from the neighbour enters by an edge across a face, so it gets ``halo - 1`` steps beyond the nodes that have
    one. All crossing edges are kept.
    """
    seen = near(block, np.unique(block.inside), halo - 1)
    return replace(block, nodes=seen.nodes, edges=seen.edges)
