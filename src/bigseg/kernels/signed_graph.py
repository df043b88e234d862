"""Signed graphs: edges whose weights or costs attract (positive) or repel (negative).

:class:`bigseg.kernels.region_graph.EdgeTable` holds what was measured on contacts; a signed edge holds what a method
makes of it, a third as many columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.pairs import distinct_pairs

Ids = NDArray[np.uint64]


@dataclass(frozen=True)
class SignedEdges:
    """Edges with what their method needs.

    Attributes:
        u: (m,) uint64 one end.
        v: (m,) uint64 other end.
        value: (m,) float64 sum of the samples for average linkage, the cost for a multicut, else the weight.
        count: (m,) float64 number of samples for average linkage; else 1, or 0 for a lifted edge, whose ends need not
            touch. Counts add up, so clusters with a count of 0 between them do not touch.
    """

    u: Ids
    v: Ids
    value: NDArray[np.float64]
    count: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of edges."""
        return len(self.u)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> SignedEdges:
        """The edges of a mask, or of some rows."""
        return SignedEdges(self.u[rows], self.v[rows], self.value[rows], self.count[rows])

    def turned(self) -> SignedEdges:
        """The same edges with their ends exchanged."""
        return SignedEdges(self.v, self.u, self.value, self.count)

    def pairs(self, names: Ids) -> NDArray[np.uint64]:
        """(m, 2) the ends as places in ``names``, which are ascending and hold both ends of every edge."""
        return np.stack([np.searchsorted(names, self.u), np.searchsorted(names, self.v)], axis=1).astype(np.uint64)

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {"u": self.u, "v": self.v, "value": self.value, "count": self.count}


def concatenate(parts: Sequence[SignedEdges]) -> SignedEdges:
    """Tables one after the other."""
    if not parts:
        return SignedEdges(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0), np.zeros(0))
    return SignedEdges(
        np.concatenate([part.u for part in parts]),
        np.concatenate([part.v for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.count for part in parts]),
    )


def contract_edges(edges: SignedEdges, nodes: Ids, clusters: Ids, linkage: str) -> SignedEdges:
    """The edges between clusters, each pair once, ``u < v``, ascending; edges inside a cluster vanish.

    Args:
        edges: edges between nodes.
        nodes: (n,) uint64 ascending.
        clusters: (n,) uint64 cluster of each node.
        linkage: how the edges between two clusters combine: values add up for mean, sum and multicut, counts always.
    """
    a, b = clusters[np.searchsorted(nodes, edges.u)], clusters[np.searchsorted(nodes, edges.v)]
    kept = a != b
    found = distinct_pairs(np.minimum(a, b)[kept], np.maximum(a, b)[kept])
    value = _combine(edges.value[kept][found.order], found.first, linkage)
    return SignedEdges(found.u, found.v, value, found.add_up(edges.count[kept]))


def follow(names: Ids, nodes: Ids, clusters: Ids) -> Ids:
    """Names after a level: ``clusters[i]`` for ``nodes[i]``, the same for names of clusters that were final before."""
    if not len(nodes):
        return names
    place = np.minimum(np.searchsorted(nodes, names), len(nodes) - 1)
    return np.where(nodes[place] == names, clusters[place], names)


def among(names: Ids, ascending: Ids) -> NDArray[np.bool_]:
    """Which names are in a sorted list without duplicates."""
    if not len(ascending):
        return np.zeros(len(names), np.bool_)
    return np.equal(ascending[np.minimum(np.searchsorted(ascending, names), len(ascending) - 1)], names)


def _combine(value: NDArray[np.float64], first: NDArray[np.int64], linkage: str) -> NDArray[np.float64]:
    """Combine each run of values; ``abs_max`` takes the repulsive one of equal magnitudes."""
    if linkage in ("mean", "sum", "multicut"):
        return np.add.reduceat(value, first)
    high, low = np.maximum.reduceat(value, first), np.minimum.reduceat(value, first)
    match linkage:
        case "max":
            return high
        case "min":
            return low
        case _:
            return np.where(-low >= high, low, high)
