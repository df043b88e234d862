"""The whole way up the octree in memory: the superblocks and contexts of the workflow, without its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.geometry.box import Triple
from bigseg.geometry.octree import Octree
from bigseg.kernels.signed_graph import Ids, SignedEdges, follow
from bigseg.kernels.superblock import Objective, Superblock, join, leaf, solve


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
    """Solve a graph as its superblocks would, in memory; for tests, small volumes and sweeps.

    Args:
        ids: (n,) uint64 supervoxels, ascending.
        edges: all edges.
        blocks: (n,) block of each supervoxel, numbered in C order of the grid.
        grid: number of blocks along (z, y, x).
        levels: levels below the root; 0 solves in core, 1 solves blocks and then the root.
        objective: what the partition is of.
    """
    if not levels:
        return Climb(solve(leaf(ids, edges), objective)[0], [len(ids)])
    tree, graph = Octree(grid), _Blocks(ids, edges, blocks)
    names, nodes_at_level = ids, []
    below: list[Superblock] = []
    for level in range(levels + 1):
        number = tree.number(level) if level < levels else 1
        parts, found = [], []
        for index in range(number):
            around = None
            if level == levels:
                part = join(below)
            elif level == 0:
                part = graph.leaf([index])
                if objective.linkage == "multicut":
                    around = graph.leaf(tree.neighbourhood(0, [index]))
            else:
                children = tree.children(level, index)
                part = join([below[child] for child in children])
                if objective.linkage == "multicut":
                    around = join([below[child] for child in tree.neighbourhood(level - 1, children)])
            parts.append(part)
            found.append(solve(part, objective, around=around))
        nodes_at_level.append(sum(len(part.nodes) for part in parts))
        nodes = np.concatenate([part.nodes for part in parts])
        clusters = np.concatenate([clusters for clusters, _ in found])
        order = np.argsort(nodes)
        names = follow(names, nodes[order], clusters[order])
        below = [solved for _, solved in found]
    return Climb(names, nodes_at_level)


class _Blocks:
    """A graph in blocks, sorted by them once."""

    def __init__(self, ids: Ids, edges: SignedEdges, blocks: NDArray[np.int64]) -> None:
        self._ids, self._edges = ids, edges
        u, v = (blocks[np.searchsorted(ids, end)] for end in (edges.u, edges.v))
        rows, leaving = np.arange(len(edges)), np.flatnonzero(u != v)
        self._nodes = _Rows(blocks, np.arange(len(ids)))
        self._incident = _Rows(np.concatenate([u, v[leaving]]), np.concatenate([rows, leaving]))

    def leaf(self, blocks: Sequence[int]) -> Superblock:
        """The superblock of some blocks."""
        nodes, edges = self._nodes.of(blocks), np.unique(self._incident.of(blocks))
        return leaf(self._ids[np.sort(nodes)], self._edges.take(edges))


class _Rows:
    """Rows by block."""

    def __init__(self, blocks: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        order = np.argsort(blocks, kind="stable")
        self._blocks, self._rows = blocks[order], rows[order]

    def of(self, blocks: Sequence[int]) -> NDArray[np.int64]:
        """The rows of some blocks."""
        first = np.searchsorted(self._blocks, blocks, side="left")
        past = np.searchsorted(self._blocks, blocks, side="right")
        return np.concatenate([self._rows[a:b] for a, b in zip(first, past, strict=True)])
