"""Superblocks of an octree: what each hands to the level above, and the whole climb in memory.

A superblock holds the clusters that may still merge, the edges between them, and the edges across its faces. The
latter stay edges between supervoxels until the superblock in which both ends lie; so a superblock needs nothing but its
children, and theorem 2 of :mod:`bigseg.kernels.agglomerate` holds, because the state in which nothing outside has
merged is as good as any. Clusters that are final leave, with their edges.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.geometry.box import Triple
from bigseg.kernels.agglomerate import contract_average, contract_linkage
from bigseg.kernels.signed_graph import Ids, SignedEdges, among, concatenate, contract_edges, follow


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
        linkage: mean, max, min or abs_max; abs_max is the mutex watershed.
        offset: for ``mean``, added to each mean.
    """

    linkage: str
    offset: float = 0.0


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


def solve(block: Superblock, objective: Objective, threads: int = 1) -> tuple[Ids, Superblock]:
    """Contract what is certain.

    Args:
        block: nodes, and all edges incident to them.
        objective: what the partition is of.
        threads: see :func:`bigseg.kernels.agglomerate.contract_average`.

    Returns:
        (n,) uint64 cluster of each of the nodes, named by its smallest supervoxel; and the superblock of the clusters.
    """
    open_ends = among(block.inside, block.nodes)
    u = np.concatenate([block.edges.u, block.inside[open_ends]])
    v = np.concatenate([block.edges.v, block.crossing.v[open_ends]])
    value = np.concatenate([block.edges.value, block.crossing.value[open_ends]])
    count = np.concatenate([block.edges.count, block.crossing.count[open_ends]])
    names = np.union1d(block.nodes, block.crossing.v[open_ends])
    owned = among(names, block.nodes)
    pairs = np.stack([np.searchsorted(names, u), np.searchsorted(names, v)], axis=1).astype(np.uint64)
    if objective.linkage == "mean":
        found = contract_average(len(names), pairs, value, count, owned, offset=objective.offset, threads=threads)
    else:
        found = contract_linkage(len(names), pairs, value, owned, linkage=objective.linkage, threads=threads)
    clusters = names[found.clusters[owned]]
    left = np.unique(clusters[~found.settled[owned]])
    edges = contract_edges(block.edges, block.nodes, clusters, objective.linkage)
    edges = edges.take(among(edges.u, left) & among(edges.v, left))
    return clusters, Superblock(left, edges, block.crossing, follow(block.inside, block.nodes, clusters))


@dataclass(frozen=True)
class Climb:
    """A partition found level by level.

    Attributes:
        names: (n,) uint64 smallest supervoxel of the object of each supervoxel.
        nodes_at_level: nodes of all superblocks of each level, from the blocks to the root.
    """

    names: Ids
    nodes_at_level: list[int]


def climb(
    ids: Ids, edges: SignedEdges, blocks: NDArray[np.int64], grid: Triple, levels: int, objective: Objective
) -> Climb:
    """Solve a graph as its superblocks would, in memory; for tests and small volumes.

    Args:
        ids: (n,) uint64 supervoxels, ascending.
        edges: all edges.
        blocks: (n,) block of each supervoxel, numbered in C order of the grid.
        grid: number of blocks along (z, y, x).
        levels: levels below the root; 0 solves in core, 1 solves blocks and then the root.
        objective: what the partition is of.
    """
    u_block, v_block = blocks[np.searchsorted(ids, edges.u)], blocks[np.searchsorted(ids, edges.v)]
    parts = {(0, 0, 0): leaf(ids, edges)}
    if levels:
        parts = {
            (z, y, x): leaf(ids[blocks == block], edges.take((u_block == block) | (v_block == block)))
            for block, (z, y, x) in enumerate(itertools.product(*map(range, grid)))
        }
    names, nodes_at_level = ids, []
    for level in range(levels + 1):
        if level:
            parts = _joined(parts, whole=level == levels)
        nodes_at_level.append(sum(len(part.nodes) for part in parts.values()))
        old, new = [], []
        for where, part in parts.items():
            clusters, parts[where] = solve(part, objective)
            old.append(part.nodes)
            new.append(clusters)
        nodes, clusters = np.concatenate(old), np.concatenate(new)
        order = np.argsort(nodes)
        names = follow(names, nodes[order], clusters[order])
    return Climb(names, nodes_at_level)


def _joined(parts: dict[Triple, Superblock], whole: bool) -> dict[Triple, Superblock]:
    """Join 2 × 2 × 2 superblocks, or all of them."""
    families: dict[Triple, list[Superblock]] = {}
    for (z, y, x), part in parts.items():
        families.setdefault((0, 0, 0) if whole else (z // 2, y // 2, x // 2), []).append(part)
    return {where: join(children) for where, children in families.items()}
