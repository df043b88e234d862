"""The compiled inside of :mod:`bigseg.kernels.multicut`: a graph in lists, and single nodes that change their cluster.

Sequential and deterministic; releases the global interpreter lock.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

_LEAST = 1e-9
"""Gain below which a node stays, lest rounding goes round in circles."""

_MOST = 50
"""Moves per node on average after which the search is given up."""


class Lists(NamedTuple):
    """The half-edges of each node.

    Attributes:
        first: (n + 1,) int64; node x has half-edges ``first[x] : first[x + 1]``.
        neighbour: (2m,) int32 other end of each.
        cost: (2m,) float64 its cost.
        local: (2m,) bool whether its ends touch.
    """

    first: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    cost: NDArray[np.float64]
    local: NDArray[np.bool_]


@numba.njit(nogil=True, cache=True)
def in_lists(n: int, pairs: NDArray[np.int64], costs: NDArray[np.float64], local: NDArray[np.bool_]) -> Lists:
    """The edges (m, 2), parallel ones allowed, as lists of half-edges."""
    m = len(pairs)
    first = np.zeros(n + 1, np.int64)
    for e in range(m):
        first[pairs[e, 0] + 1] += 1
        first[pairs[e, 1] + 1] += 1
    for x in range(n):
        first[x + 1] += first[x]
    used = first[:-1].copy()
    neighbour = np.empty(2 * m, np.int32)
    cost = np.empty(2 * m, np.float64)
    touching = np.empty(2 * m, np.bool_)
    for e in range(m):
        u, v = pairs[e, 0], pairs[e, 1]
        for x, other in ((u, v), (v, u)):
            neighbour[used[x]] = other
            cost[used[x]] = costs[e]
            touching[used[x]] = local[e]
            used[x] += 1
    return Lists(first, neighbour, cost, touching)


@numba.njit(nogil=True, cache=True)
def move_nodes(lists: Lists, label: NDArray[np.int32]) -> None:
    """Move single nodes to the cluster that they gain most from, or to one of their own, until none gains.

    A node can go where it has a local edge. It may be all that connects the cluster it leaves; the caller has to look.

    Args:
        lists: the graph.
        label: (n,) int32 cluster of each node, in 0 … n - 1; changed in place.
    """
    n = len(label)
    size = np.zeros(n, np.int32)
    for x in range(n):
        size[label[x]] += 1
    free = np.empty(n, np.int32)
    spare = 0
    for c in range(n - 1, -1, -1):
        if size[c] == 0:
            free[spare] = c
            spare += 1
    pull = np.zeros(n, np.float64)
    touches = np.zeros(n, np.bool_)
    seen = np.zeros(n, np.bool_)
    around = np.empty(n, np.int32)
    queue = np.arange(n).astype(np.int32)
    waiting = np.ones(n, np.bool_)
    head, length, moves = 0, n, 0
    while length and moves <= _MOST * n:
        x = queue[head]
        head = head + 1 if head + 1 < n else 0
        length -= 1
        waiting[x] = False
        number = 0
        for i in range(lists.first[x], lists.first[x + 1]):
            c = label[lists.neighbour[i]]
            if not seen[c]:
                seen[c] = True
                around[number] = c
                number += 1
            pull[c] += lists.cost[i]
            touches[c] |= lists.local[i]
        own = label[x]
        best, strongest = -1, 0.0
        for i in range(number):
            c = around[i]
            if c != own and touches[c] and (pull[c] > strongest or (pull[c] == strongest and c < best)):
                best, strongest = c, pull[c]
        gain = strongest - pull[own]
        for i in range(number):
            pull[around[i]] = 0.0
            touches[around[i]] = False
            seen[around[i]] = False
        if gain <= _LEAST or (best == -1 and size[own] == 1):
            continue
        if best == -1:
            spare -= 1
            best = free[spare]
        size[own] -= 1
        if size[own] == 0:
            free[spare] = own
            spare += 1
        size[best] += 1
        label[x] = best
        moves += 1
        for i in range(lists.first[x], lists.first[x + 1]):
            other = lists.neighbour[i]
            if not waiting[other]:
                waiting[other] = True
                tail = head + length
                queue[tail if tail < n else tail - n] = other
                length += 1


@numba.njit(nogil=True, cache=True)
def components(n: int, pairs: NDArray[np.int64], joins: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Components of the edges that join, (n,) int64, numbered 0 … k - 1 in order of their smallest nodes."""
    parent = np.arange(n)
    for e in range(len(pairs)):
        if joins[e]:
            a, b = pairs[e, 0], pairs[e, 1]
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            parent[max(a, b)] = min(a, b)
    number = 0
    for x in range(n):
        # A parent is never later than its node, so its number is known.
        if parent[x] == x:
            parent[x] = number
            number += 1
        else:
            parent[x] = parent[parent[x]]
    return parent
