"""The fast choice among candidate events: the best matching of a pair by links alone, then divisions one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from bigseg.kernels.tracking.model import Events, Floats, Indices, Pair, Solution


def solve_greedy(pairs: Sequence[Pair]) -> Solution:
    """Take all detections; in each pair match by links, then let divisions take up what was left unmatched.

    Args:
        pairs: those between consecutive time points, at least one.

    Returns:
        A feasible solution, like that of :func:`bigseg.kernels.tracking.program.solve` but not always of least cost.
    """
    sizes = [len(pairs[0].disappearance), *(len(pair.appearance) for pair in pairs)]
    return Solution(tuple(np.ones(size, bool) for size in sizes), tuple(_solve(pair) for pair in pairs))


def _solve(pair: Pair) -> Events:
    chosen = _match(pair)
    target_of, cost_of = np.full(len(pair.disappearance), -1), pair.disappearance.copy()
    target_of[pair.links[chosen, 0]] = pair.links[chosen, 1]
    cost_of[pair.links[chosen, 0]] = pair.link_cost[chosen]
    new = np.ones(len(pair.appearance), bool)
    new[pair.links[chosen, 1]] = False
    # A division takes up an object that appeared, beside the one that its mother was linked to, or two that appeared.
    mother, first, second = pair.divisions.T
    other = np.where(target_of[mother] == first, second, first)
    linked = (target_of[mother] == first) | (target_of[mother] == second)
    saved = cost_of[mother] - pair.division_cost + pair.appearance[other]
    saved += np.where(linked, 0.0, pair.appearance[first] + pair.appearance[second] - pair.appearance[other])
    possible = np.where(linked, new[other], (target_of[mother] < 0) & new[first] & new[second]) & (saved > 0)
    divisions = _one_by_one(pair.divisions, np.flatnonzero(possible), -saved, linked, other, new)
    kept = np.ones(len(target_of), bool)
    kept[pair.divisions[divisions, 0]] = False
    return Events(pair.links[chosen[kept[pair.links[chosen, 0]]]], pair.divisions[divisions])


def _match(pair: Pair) -> Indices:
    """Rows of the links of the matching of least cost, ascending."""
    n, m = len(pair.disappearance), len(pair.appearance)
    if not len(pair.links):
        return np.empty(0, np.int64)
    # A source that disappears is matched to a column of its own. Weights must not be 0, which would be no edge.
    weight = np.concatenate([pair.link_cost - pair.appearance[pair.links[:, 1]], pair.disappearance])
    weight += 1 - weight.min()
    row = np.concatenate([pair.links[:, 0], np.arange(n)])
    column = np.concatenate([pair.links[:, 1], m + np.arange(n)])
    source, target = min_weight_full_bipartite_matching(csr_array((weight, (row, column)), (n, m + n)))
    matched = np.full(n, -1)
    matched[source] = target
    return np.flatnonzero(matched[pair.links[:, 0]] == pair.links[:, 1])


def _one_by_one(
    divisions: Indices, possible: Indices, cost: Floats, linked: np.ndarray, other: Indices, new: np.ndarray
) -> Indices:
    """Rows of the divisions that are taken, ascending: the cheapest first, unless a detection is in one already."""
    used_mother: set[int] = set()
    taken = []
    for row in possible[np.argsort(cost[possible], kind="stable")].tolist():
        mother, first, second = divisions[row].tolist()
        daughters = (int(other[row]),) if linked[row] else (first, second)
        if mother not in used_mother and all(new[daughter] for daughter in daughters):
            taken.append(row)
            used_mother.add(mother)
            new[list(daughters)] = False
    return np.array(sorted(taken), np.int64)
