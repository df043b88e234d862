"""Lifted edges: evidence for or against pairs of supervoxels that need not touch.

An edge of the region graph tells of the contact of two supervoxels. A lifted edge tells whether two supervoxels belong
to the same object without saying by which way (Keuper et al. 2015; Horňáková et al. 2017): its cost is paid if they
end in different objects. Here costs come from an instance map (one nucleus per cell), from a semantic map, and from
affinities (Pape et al. 2019).

**Scale.** The cost of a contact is a log odds times its area in voxel faces, which grows with the supervoxels; a lifted
cost that is a fixed number would be all or nothing according to their size. (PlantSeg takes five times the largest
cost of the volume, which no block can know.) So a lifted cost is a weight times an area as well: for two
supervoxels with labels the face of a cube of as many voxels as have the label in the one that has fewer. A weight thus
reads as the log odds of one contact as wide as that part of the nucleus; and a sliver of a nucleus, in a supervoxel
of a neighbouring cell, weighs little.

**Neighbourhood.** Pairs are linked if a path of at most ``distance`` contacts joins them. A block looks for such paths
in itself and the 26 blocks around it, and makes the pairs whose smaller id is its own: an edge never spans more than
two blocks that share a face, edge or corner, whatever the distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from bigseg.geometry.box import Triple
from bigseg.geometry.grid import LOCAL_ID_BITS
from bigseg.kernels.costs import linear_weights, log_odds_costs
from bigseg.kernels.evidence import LongRange
from bigseg.kernels.pairs import distinct_pairs
from bigseg.kernels.signed_graph import Ids, SignedEdges

Floats = NDArray[np.float64]

_BITS = np.uint64(LOCAL_ID_BITS)
_LOCAL = np.uint64((1 << LOCAL_ID_BITS) - 1)


class Numbers:
    """Consecutive numbers, from 0, for the supervoxels of some blocks, in the order of their ids."""

    def __init__(self, last_ids: Ids) -> None:
        """Number the supervoxels whose ids are ``block << LOCAL_ID_BITS | 1, 2, …``.

        Args:
            last_ids: (k,) uint64, ascending, last id of each block; one that ends in 0 for a block that has none.
        """
        self._blocks = (last_ids >> _BITS).astype(np.int64)
        self._first = np.concatenate([[0], np.cumsum((last_ids & _LOCAL).astype(np.int64))])
        self.total = int(self._first[-1])

    def of(self, ids: Ids) -> NDArray[np.int64]:
        """The number of each id, -1 for those of other blocks."""
        if not len(self._blocks):
            return np.full(len(ids), -1, np.int64)
        blocks = (ids >> _BITS).astype(np.int64)
        # Few blocks among many: a table over the range of their numbers is faster than a search for each id.
        lowest = int(self._blocks[0])
        place = np.full(int(self._blocks[-1]) - lowest + 1, -1, np.int64)
        place[self._blocks - lowest] = np.arange(len(self._blocks))
        known = (blocks >= lowest) & (blocks <= self._blocks[-1])
        found = np.where(known, place[np.where(known, blocks - lowest, 0)], -1)
        return np.where(found < 0, -1, self._first[found] + (ids & _LOCAL).astype(np.int64) - 1)

    def ids(self, numbers: NDArray[np.int64]) -> Ids:
        """The id with each number."""
        place = np.searchsorted(self._first, numbers, side="right") - 1
        local: Ids = (numbers - self._first[place] + 1).astype(np.uint64)
        found: Ids = (self._blocks[place].astype(np.uint64) << _BITS) | local
        return found


def neighbourhood_pairs(
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    owned: NDArray[np.bool_],
    nucleus: Ids,
    semantic_class: Ids,
    distance: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of supervoxels near each other of which an instance map or a semantic map has something to say.

    Supervoxels are numbers 0 … n - 1 in the order of their ids.

    Args:
        u: (m,) one end of each contact; a contact may be given twice.
        v: (m,) the other end.
        owned: (n,) at least the one with the smaller number must be owned.
        nucleus: (n,) nucleus of each supervoxel, 0 if none. Pairs with a nucleus each are wanted.
        semantic_class: (n,) class of each supervoxel, 0 if none. Pairs of different classes are wanted.
        distance: length of the longest path between the ends of a pair, in contacts; at least 1.

    Returns:
        Smaller and larger number of each pair, ascending; a pair that touches is one like others.
    """
    first, neighbour = _half_edges(u, v, len(owned))
    starts = np.flatnonzero(owned & ((nucleus != 0) | (semantic_class != 0)))
    return _search(first, neighbour, starts, nucleus, semantic_class, distance)


def assign(label: Ids, voxels: Ids, size: Ids, minimum_overlap: float) -> Ids:
    """The label of each supervoxel, 0 if too few of its voxels have it.

    Args:
        label: (n,) uint64 its most frequent label, 0 if none.
        voxels: (n,) uint64 voxels of the supervoxel with that label.
        size: (n,) uint64 voxels to which they are compared.
        minimum_overlap: share of these that must have the label.
    """
    return np.where(voxels >= minimum_overlap * size, label, np.uint64(0))


def label_costs(first: Ids, second: Ids, voxels: Ids, size_weight: float, same: float, different: float) -> Floats:
    """Costs of pairs from the labels of their ends; 0 where one of the two has none.

    Args:
        first: (n,) uint64 label of one end, 0 if none.
        second: (n,) uint64 label of the other.
        voxels: (n,) uint64 voxels with the label, in the end that has fewer.
        size_weight: exponent of the area, as for contacts (:func:`bigseg.kernels.costs.log_odds_costs`).
        same: weight of equal labels; positive joins, negative separates.
        different: weight of different labels.
    """
    weight = np.where(first == second, same, different)
    area = voxels.astype(np.float64) ** (2 / 3)
    return np.where((first != 0) & (second != 0), weight * area**size_weight, 0.0)


def affinity_costs(pairs: LongRange, offsets: Sequence[Triple], beta: float, size_weight: float) -> Floats:
    """Costs of pairs from affinities: the log odds of their mean times the area that the offsets cross.

    An offset (z, y, x) links |z| voxel pairs through each face of a wall across z that is wider than the offset is
    long; so the area is the number of voxel pairs divided by the mean over the axes of the lengths of all offsets.

    Args:
        pairs: statistics of the affinities.
        offsets: all offsets.
        beta: bias in (0, 1); larger values separate more.
        size_weight: exponent of the area.
    """
    crossed = sum(abs(along) for offset in offsets for along in offset) / 3
    return log_odds_costs(pairs.probability, beta, pairs.count / crossed, size_weight)


def repulsive_edges(pairs: LongRange, beta: float) -> SignedEdges:
    """The edges of a mutex watershed that affinities give: those that repel (Wolf et al. 2019, section 3).

    An affinity that attracts is no contact: it would join supervoxels that do not touch.
    """
    weights = linear_weights(pairs.probability, beta)
    edges = SignedEdges(pairs.u, pairs.v, weights, np.ones(len(pairs)))
    return edges.take(weights < 0)


def sum_costs(u: Ids, v: Ids, costs: Floats) -> SignedEdges:
    """Lifted edges, ascending by (u, v), each pair once; costs of the same pair add up, edges of cost 0 are left out.

    Their count is 0: they are no contact, even where their ends touch.
    """
    found = distinct_pairs(u, v)
    total = found.add_up(costs)
    return SignedEdges(found.u, found.v, total, np.zeros(len(total))).take(total != 0)


@numba.njit(nogil=True, cache=True)
def _half_edges(u: NDArray[np.int64], v: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Neighbours of node x as ``neighbour[first[x] : first[x + 1]]``."""
    first = np.zeros(n + 1, np.int64)
    for e in range(len(u)):
        first[u[e] + 1] += 1
        first[v[e] + 1] += 1
    for x in range(n):
        first[x + 1] += first[x]
    place = first[:-1].copy()
    neighbour = np.empty(2 * len(u), np.int32)
    for e in range(len(u)):
        neighbour[place[u[e]]] = v[e]
        neighbour[place[v[e]]] = u[e]
        place[u[e]] += 1
        place[v[e]] += 1
    return first, neighbour


@numba.njit(nogil=True, cache=True)
def _search(
    first: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    starts: NDArray[np.int64],
    nucleus: NDArray[np.uint64],
    semantic_class: NDArray[np.uint64],
    distance: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Breadth-first search from each of ``starts``."""
    n = len(first) - 1
    seen = np.full(n, -1, np.int64)
    queue = np.empty(n, np.int64)
    u, v = np.empty(1024, np.int64), np.empty(1024, np.int64)
    found = 0
    for x in starts:
        seen[x] = x
        queue[0] = x
        begin, end, before = 0, 1, found
        for _ in range(distance):
            past = end
            for place in range(begin, end):
                for i in range(first[queue[place]], first[queue[place] + 1]):
                    y = np.int64(neighbour[i])
                    if seen[y] == x:
                        continue
                    seen[y] = x
                    queue[past] = y
                    past += 1
                    nuclei = nucleus[x] != 0 and nucleus[y] != 0
                    classes = (
                        semantic_class[x] != 0 and semantic_class[y] != 0 and semantic_class[x] != semantic_class[y]
                    )
                    if y > x and (nuclei or classes):
                        if found == len(u):
                            u = np.concatenate((u, np.empty(found, np.int64)))
                            v = np.concatenate((v, np.empty(found, np.int64)))
                        u[found], v[found] = x, y
                        found += 1
            begin, end = end, past
        v[before:found] = np.sort(v[before:found])
    return u[:found].copy(), v[:found].copy()
