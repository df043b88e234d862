"""The compiled inside of :func:`bigseg.kernels.multicut.lower_bound`: cycles of one repulsive edge, one after another.

A cycle of one repulsive edge and attractive ones cannot have the repulsive edge alone cut. So whatever the partition,
it pays at least the smallest magnitude on the cycle more than the sum of the negative costs; taken off every edge of
the cycle, the rest is a multicut problem with the same property (Lange, Karrenbauer and Andres 2018, section 4).

Sequential and deterministic; releases the global interpreter lock.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(nogil=True, cache=True)
def pack_cycles(
    n: int, pairs: NDArray[np.int64], costs: NDArray[np.float64], lengths: NDArray[np.int64], most: int
) -> float:
    """Pack cycles greedily, the shortest first.

    Args:
        n: number of nodes.
        pairs: (m, 2) int64 edges; parallel ones are allowed.
        costs: (m,) float64; changed to what no cycle has used.
        lengths: ascending; each is the most edges of the cycles that a pass looks for.
        most: nodes that the search for one cycle may visit.

    Returns:
        Sum of what the cycles pay.
    """
    m = len(pairs)
    first = np.zeros(n + 1, np.int64)
    repulsive = 0
    for e in range(m):
        if costs[e] > 0:
            first[pairs[e, 0] + 1] += 1
            first[pairs[e, 1] + 1] += 1
        elif costs[e] < 0:
            repulsive += 1
    for x in range(n):
        first[x + 1] += first[x]
    used = first[:-1].copy()
    neighbour = np.empty(first[n], np.int64)
    edge = np.empty(first[n], np.int64)
    left = np.empty(repulsive, np.int64)
    number = 0
    for e in range(m):
        if costs[e] > 0:
            u, v = pairs[e, 0], pairs[e, 1]
            neighbour[used[u]], edge[used[u]] = v, e
            used[u] += 1
            neighbour[used[v]], edge[used[v]] = u, e
            used[v] += 1
        elif costs[e] < 0:
            left[number] = e
            number += 1

    seen = np.zeros(n, np.int64)  # 2 · search + side of the last search that came by
    back = np.empty(n, np.int64)  # half-edge by which it came
    origin = np.empty(n, np.int64)
    queues = np.empty((2, max(most, 1) + 1), np.int64)
    begin, end, depth = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64)
    search, paid = 1, 0.0
    for length in lengths:
        kept = 0
        for place in range(repulsive):
            e = left[place]
            while costs[e] < 0:
                search += 1
                for side in range(2):
                    x = pairs[e, side]
                    seen[x] = 2 * search + side
                    back[x] = -1
                    queues[side, 0] = x
                    begin[side], end[side], depth[side] = 0, 1, 0
                meet_from, meet_by = -1, -1
                while meet_by < 0 and depth[0] + depth[1] + 1 < length and end[0] + end[1] < most:
                    side = 0 if end[0] - begin[0] <= end[1] - begin[1] else 1
                    if end[side] == begin[side]:
                        break
                    stop = end[side]
                    for i in range(begin[side], stop):
                        x = queues[side, i]
                        for h in range(first[x], first[x + 1]):
                            if costs[edge[h]] <= 0:
                                continue
                            y = neighbour[h]
                            if seen[y] == 2 * search + 1 - side:
                                meet_from, meet_by = x, h
                                break
                            if seen[y] != 2 * search + side and end[side] < most:
                                seen[y] = 2 * search + side
                                back[y] = h
                                origin[y] = x
                                queues[side, end[side]] = y
                                end[side] += 1
                        if meet_by >= 0:
                            break
                    begin[side] = stop
                    depth[side] += 1
                if meet_by < 0:
                    break
                pays = min(-costs[e], costs[edge[meet_by]])
                for start in (meet_from, neighbour[meet_by]):
                    x = start
                    while back[x] >= 0:
                        pays = min(pays, costs[edge[back[x]]])
                        x = origin[x]
                costs[e] += pays
                costs[edge[meet_by]] -= pays
                for start in (meet_from, neighbour[meet_by]):
                    x = start
                    while back[x] >= 0:
                        costs[edge[back[x]]] -= pays
                        x = origin[x]
                paid += pays
            if costs[e] < 0:
                left[kept] = e
                kept += 1
        repulsive = kept
    return paid
