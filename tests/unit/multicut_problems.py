"""Multicut problems that are hard to solve in blocks: region graphs with places, of any size, cut into any blocks.

Supervoxels lie on a lattice; neighbours along an axis touch, half of those along a diagonal too, so a region has about
the dozen neighbours that supervoxels have. What makes a problem hard is in the costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bigseg.kernels.signed_graph import SignedEdges, concatenate

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Triple = tuple[int, int, int]

_AXES = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
_DIAGONALS = ((0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 1, -1), (1, 0, -1), (1, -1, 0))


@dataclass(frozen=True)
class Problem:
    """A (lifted) multicut problem whose nodes have places.

    Attributes:
        ids: (n,) uint64 supervoxels, ascending.
        edges: costs; ``count`` is 1 for a local edge, 0 for a lifted one; each pair once, ``u < v``.
        places: (n, 3) int64 place of each supervoxel on the lattice.
        shape: of the lattice.
        truth: (n,) int64 planted objects.
    """

    ids: NDArray[np.uint64]
    edges: SignedEdges
    places: Ints
    shape: Triple
    truth: Ints

    def blocks(self, grid: Triple) -> Ints:
        """Block of each supervoxel, numbered in C order of the grid."""
        z, y, x = (self.places * np.array(grid) // np.array(self.shape)).T
        return np.asarray((z * grid[1] + y) * grid[2] + x)


def cells(side: int, seed: int = 0, diameter: float = 6.0) -> Problem:
    """Voronoi cells with noisy boundaries; one contact in six misleads."""
    return _planted(side, seed, _cells(side, seed, diameter), inside=1.0, across=-1.0, noise=1.0)


def weak(side: int, seed: int = 0, diameter: float = 6.0) -> Problem:
    """Voronoi cells whose boundaries hardly show: log odds near 0, nearly half of all contacts mislead."""
    return _planted(side, seed, _cells(side, seed, diameter), inside=0.25, across=-0.35, noise=0.8)


def neurites(side: int, seed: int = 0) -> Problem:
    """Thin branching objects that run through the whole volume and touch each other all along, with weak spots."""
    return _planted(side, seed, _trees(side, seed), inside=1.3, across=-0.9, noise=1.0)


def glass(side: int, seed: int = 0) -> Problem:
    """Independent normal costs: there is nothing to find but the optimum."""
    problem = _planted(side, seed, np.zeros(side**3, np.int64), inside=0.0, across=0.0, noise=1.0)
    size = np.ones(len(problem.edges))
    return replace(problem, edges=replace(problem.edges, value=_normal(seed + 9, size)))


def lifted_cells(side: int, seed: int = 0) -> Problem:
    """Weak cells with lifted edges, as one nucleus per cell gives: attractive within, repulsive between."""
    return _lift(weak(side, seed), seed, inside=0.5, across=-0.7)


def lifted_neurites(side: int, seed: int = 0) -> Problem:
    """Neurites with lifted edges between places up to four steps apart."""
    return _lift(neurites(side, seed), seed, inside=0.4, across=-0.6)


PROBLEMS: dict[str, Callable[[int, int], Problem]] = {
    "cells": cells,
    "weak": weak,
    "neurites": neurites,
    "glass": glass,
    "lifted_cells": lifted_cells,
    "lifted_neurites": lifted_neurites,
}


def _cells(side: int, seed: int, diameter: float) -> Ints:
    number = max(2, round((side / diameter) ** 3))
    centres = np.random.default_rng(seed).uniform(0, side, (number, 3))
    return np.asarray(cKDTree(centres).query(_lattice(side))[1], np.int64)


def _trees(side: int, seed: int) -> Ints:
    """Nearest tree of each place; a tree is a few persistent random walks, the later ones start on the first."""
    generator = np.random.default_rng(seed)
    number, branches, steps = max(2, side**3 // 600), 3, 2 * side
    points, owners = [], []
    for tree in range(number):
        stem: NDArray[np.float64] = generator.uniform(0, side, (1, 3))
        for _ in range(branches):
            heading = generator.normal(size=3)
            turns = np.cumsum(0.25 * generator.normal(size=(steps, 3)), axis=0) + heading
            turns /= np.linalg.norm(turns, axis=1, keepdims=True)
            path = stem[generator.integers(len(stem))] + np.cumsum(turns, axis=0)
            path = path[np.logical_and.accumulate(((path >= 0) & (path < side)).all(axis=1))]
            points.append(path)
            owners.append(np.full(len(path), tree))
            stem = np.concatenate([stem, path])
    where, owner = np.concatenate(points), np.concatenate(owners)
    return np.asarray(owner[cKDTree(where).query(_lattice(side))[1]], np.int64)


def _planted(side: int, seed: int, truth: Ints, *, inside: float, across: float, noise: float) -> Problem:
    """Costs are noisy log odds times the square root of the contact area, as those of a multicut often are."""
    places, generator = _lattice(side), np.random.default_rng(seed + 1)
    parts = [_neighbours(places, side, step) for step in _AXES]
    for step in _DIAGONALS:
        u, v = _neighbours(places, side, step)
        kept = generator.random(len(u)) < 0.5
        parts.append((u[kept], v[kept]))
    u, v = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    mean = np.where(truth[u] == truth[v], inside, across)
    area = np.exp(0.5 * _normal(seed + 2, u))
    costs = (mean + noise * _normal(seed + 3, u)) * np.sqrt(area)
    ids = np.arange(1, side**3 + 1, dtype=np.uint64)
    edges = SignedEdges(ids[np.minimum(u, v)], ids[np.maximum(u, v)], costs, np.ones(len(u)))
    return Problem(ids, edges, places, (side, side, side), truth)


def _lift(problem: Problem, seed: int, *, inside: float, across: float) -> Problem:
    """Add one lifted edge per node on average, to a place two to four steps away."""
    side, generator = problem.shape[0], np.random.default_rng(seed + 4)
    steps = [s for s in np.ndindex(5, 5, 5) if max(s) >= 2 and sum(s) <= 4]
    parts = []
    for step in steps:
        u, v = _neighbours(problem.places, side, step)
        kept = generator.random(len(u)) < 1 / len(steps)
        parts.append((u[kept], v[kept]))
    u, v = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    mean = np.where(problem.truth[u] == problem.truth[v], inside, across)
    costs = mean + 0.5 * _normal(seed + 5, u)
    new = SignedEdges(problem.ids[np.minimum(u, v)], problem.ids[np.maximum(u, v)], costs, np.zeros(len(u)))
    return replace(problem, edges=concatenate([problem.edges, new]))


def _lattice(side: int) -> Ints:
    return np.asarray(np.indices((side,) * 3).reshape(3, -1).T, np.int64)


def _neighbours(places: Ints, side: int, step: Triple) -> tuple[Ints, Ints]:
    """Pairs of nodes that are a step apart."""
    ends = places + np.array(step)
    u = np.flatnonzero(((ends >= 0) & (ends < side)).all(axis=1))
    return u, np.asarray(np.ravel_multi_index(tuple(ends[u].T), (side,) * 3), np.int64)


def _normal(seed: int, like: NDArray[np.generic]) -> Floats:
    return np.random.default_rng(seed).normal(size=len(like))
