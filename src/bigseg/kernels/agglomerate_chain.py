"""The compiled inside of :mod:`bigseg.kernels.agglomerate`: chains of strongest neighbours on a graph in lists.

Each cluster holds the half-edges to its neighbours in the storage of its nodes, one piece per node, linked to a chain.
A merge links two chains and touches nothing else; half-edges get their present cluster, and parallel ones are
combined, only when the cluster's strongest neighbour is asked for. Reducibility makes that cheap: the strongest
neighbour of a cluster stays what it was until one of the two is itself merged, so all others need not be looked at.

A merge thus costs the number of neighbours of both clusters, a few dozen in a region graph. What would be slow is one
cluster that takes in thousands of neighbours one by one: a star of 10,000 leaves takes 0.4 s, and time grows with the
square.

Everything is sequential in its nodes and releases the global interpreter lock; callers give disjoint runs of nodes to
several threads. A run reads and writes the state of its own nodes only.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

MEAN, MAX, MIN, ABS_MAX = range(4)

NONE = -1
"""No neighbour, no node."""


class State(NamedTuple):
    """Clusters and their half-edges; a cluster is known by its smallest node.

    Attributes:
        first: (n + 1,) int64; node x stores half-edges in ``first[x] : first[x + 1]``.
        neighbour: (2m,) int32 other end of each half-edge.
        value: (2m,) float64 statistic of each half-edge.
        samples: (2m,) float64 number of samples, for the mean; empty for the other linkages.
        used: (n,) int32 how many half-edges are in use of those that node x stores.
        following: (n,) int32 next node whose storage belongs to the same cluster, -1 at the end.
        last: (n,) int32 last node of that chain; valid for a cluster's smallest node.
        parent: (n,) int32 union-find forest; the root is the smallest node.
        size: (n,) int32 nodes of the cluster, which tells whether it is still the one that was seen.
        strongest: (n,) int32 strongest neighbour when last asked for, -1 if none attracts.
        strongest_size: (n,) int32 size of that neighbour then, 0 if it was not asked for or the cluster has changed.
        waiting: (n,) bool; the cluster can merge with nothing in this run.
    """

    first: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    value: NDArray[np.float64]
    samples: NDArray[np.float64]
    used: NDArray[np.int32]
    following: NDArray[np.int32]
    last: NDArray[np.int32]
    parent: NDArray[np.int32]
    size: NDArray[np.int32]
    strongest: NDArray[np.int32]
    strongest_size: NDArray[np.int32]
    waiting: NDArray[np.bool_]


def new_state(n: int, pairs: NDArray[np.uint64], value: NDArray[np.float64], count: NDArray[np.float64]) -> State:
    """Every node a cluster of its own; ``count`` is empty for linkages that need none."""
    nodes = np.arange(n, dtype=np.int32)
    half = 2 * len(pairs)
    state = State(
        first=np.zeros(n + 1, np.int64),
        neighbour=np.empty(half, np.int32),
        value=np.empty(half),
        samples=np.empty(half if len(count) else 0),
        used=np.empty(n, np.int32),
        following=np.full(n, NONE, np.int32),
        last=nodes.copy(),
        parent=nodes,
        size=np.ones(n, np.int32),
        strongest=np.full(n, NONE, np.int32),
        strongest_size=np.zeros(n, np.int32),
        waiting=np.zeros(n, np.bool_),
    )
    _fill(state, pairs, value, count)
    return state


@numba.njit(nogil=True, cache=True)
def _fill(state: State, pairs: NDArray[np.uint64], value: NDArray[np.float64], count: NDArray[np.float64]) -> None:
    first, used = state.first, state.used
    n = len(used)
    for e in range(len(pairs)):
        first[int(pairs[e, 0]) + 1] += 1
        first[int(pairs[e, 1]) + 1] += 1
    for x in range(n):
        first[x + 1] += first[x]
        used[x] = 0
    for e in range(len(pairs)):
        u, v = int(pairs[e, 0]), int(pairs[e, 1])
        for x, other in ((u, v), (v, u)):
            place = first[x] + used[x]
            used[x] += 1
            state.neighbour[place] = other
            state.value[place] = value[e]
            if len(count):
                state.samples[place] = count[e]


@numba.njit(nogil=True, cache=True)
def _root(parent: NDArray[np.int32], x: int) -> int:
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = int(parent[x])
    return x


@numba.njit(nogil=True, cache=True)
def _find_strongest(
    state: State, x: int, begin: int, end: int, place: NDArray[np.int64], linkage: int, offset: float
) -> int:
    """Combine the half-edges of cluster x and return its strongest attractive neighbour, -1 if there is none.

    Nodes outside ``begin : end`` count as clusters of their own. ``place`` is -1 everywhere, before and after.
    """
    first, neighbour, value, count = state.first, state.neighbour, state.value, state.samples
    # Kept half-edges are packed to the front of the chain; the writer never overtakes the reader.
    writer, position, room = x, int(first[x]), int(first[x + 1])
    reader = x
    while reader != NONE:
        following = int(state.following[reader])
        for i in range(first[reader], first[reader] + state.used[reader]):
            other = int(neighbour[i])
            if begin <= other < end:
                other = _root(state.parent, other)
                if other == x:
                    continue
            at = place[other]
            if at < 0:
                while position == room:
                    state.used[writer] = room - first[writer]
                    writer = int(state.following[writer])
                    position, room = int(first[writer]), int(first[writer + 1])
                place[other] = position
                neighbour[position] = other
                value[position] = value[i]
                if linkage == MEAN:
                    count[position] = count[i]
                position += 1
            elif linkage == MEAN:
                value[at] += value[i]
                count[at] += count[i]
            elif linkage == MAX:
                value[at] = max(value[at], value[i])
            elif linkage == MIN:
                value[at] = min(value[at], value[i])
            elif abs(value[i]) > abs(value[at]) or (value[i] < 0 and value[i] == -value[at]):
                value[at] = value[i]
        reader = following
    state.used[writer] = position - first[writer]
    state.following[writer] = NONE
    state.last[x] = writer

    best, best_weight = NONE, 0.0
    reader = x
    while reader != NONE:
        for i in range(first[reader], first[reader] + state.used[reader]):
            other = int(neighbour[i])
            place[other] = NONE
            weight = offset + value[i] / count[i] if linkage == MEAN else value[i]
            if weight > best_weight or (weight == best_weight and best != NONE and other > best):
                best, best_weight = other, weight
        reader = int(state.following[reader])
    state.strongest[x] = best
    state.strongest_size[x] = 1
    if begin <= best < end:
        state.strongest_size[x] = state.size[best]
    return best


@numba.njit(nogil=True, cache=True)
def merge_run(state: State, owned: NDArray[np.bool_], begin: int, end: int, linkage: int, offset: float) -> None:
    """Merge reciprocally strongest attractive pairs of owned nodes in ``begin : end`` until there are none."""
    parent, size = state.parent, state.size
    place = np.full(len(parent), NONE, np.int64)
    chain = np.empty(end - begin, np.int32)
    for start in range(begin, end):
        if not owned[start] or parent[start] != start or state.waiting[start]:
            continue
        chain[0] = start
        length = 1
        while length:
            x = int(chain[length - 1])
            best = int(state.strongest[x])
            seen = state.strongest_size[x]
            if seen == 0 or (best != NONE and begin <= best < end and (parent[best] != best or size[best] != seen)):
                best = _find_strongest(state, x, begin, end, place, linkage, offset)
            if best == NONE or not begin <= best < end or not owned[best] or state.waiting[best]:
                # The strongest neighbour will not change here, so neither will that of any cluster of the chain.
                for i in range(length):
                    state.waiting[chain[i]] = True
                length = 0
            elif length > 1 and chain[length - 2] == best:
                small, large = min(x, best), max(x, best)
                parent[large] = small
                size[small] += size[large]
                state.following[state.last[small]] = large
                state.last[small] = state.last[large]
                state.strongest_size[small] = 0
                length -= 2
                if length == 0:
                    chain[0] = small
                    length = 1
            else:
                chain[length] = best
                length += 1


@numba.njit(nogil=True, cache=True)
def clusters_of(parent: NDArray[np.int32]) -> NDArray[np.int64]:
    """Smallest node of each node's cluster, (n,) int64."""
    result = np.empty(len(parent), np.int64)
    for x in range(len(parent)):
        result[x] = _root(parent, x)
    return result
