"""What the tests of blockwise partitions share: signed graphs cut into blocks, and agglomeration in plain Python."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from bigseg.kernels.signed_graph import SignedEdges

COMBINE = {
    "mean": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sum": lambda a, b: (a[0] + b[0], 1),
    "max": max,
    "min": min,
    "abs_max": lambda a, b: max(a, b, key=lambda edge: (abs(edge[0]), edge[0] < 0)),
}


@dataclass(frozen=True)
class Graph:
    """A signed graph whose nodes lie in blocks."""

    ids: np.ndarray
    pairs: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    blocks: np.ndarray
    grid: tuple[int, int, int]

    @property
    def edges(self) -> SignedEdges:
        return SignedEdges(*self.ids[self.pairs.T], self.values, self.counts)


@st.composite
def graphs(draw: st.DrawFn, nodes: int = 24, distinct: bool | None = None, parallel: bool = False) -> Graph:
    """Sparse to complete, of few or distinct weights, of one sign or both, in any blocks, some of them empty.

    Values and counts are multiples of 2^-30, so that all sums are exact.
    """
    n = draw(st.integers(0, nodes))
    grid = draw(st.tuples(*[st.integers(1, 4)] * 3))
    density = draw(st.floats(0, 1))
    sign = draw(st.sampled_from([-1.0, -0.25, 0.0, 0.25, 1.0]))
    few = draw(st.booleans()) if distinct is None else not distinct
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    u, v = np.triu_indices(n, 1)
    chosen = np.flatnonzero(generator.random(len(u)) < density)
    chosen = generator.choice(chosen, 2 * len(chosen)) if parallel and len(chosen) else chosen
    pairs = np.stack([u[chosen], v[chosen]], axis=1).astype(np.uint64)
    m = len(pairs)
    values = generator.integers(-4, 5, m) / 2 if few else np.rint(2**30 * generator.uniform(-1, 1, m)) / 2**30
    values = values + sign * (2.0 if few else 1.0)
    counts = generator.integers(1, 4 if few else 300, m).astype(np.float64)
    number_of_blocks = int(np.prod(grid))
    used = generator.choice(number_of_blocks, generator.integers(1, number_of_blocks + 1))
    ids = np.sort(generator.choice(10 * n + 1, n, replace=False)).astype(np.uint64) + np.uint64(1)
    return Graph(ids, pairs, values, counts, generator.choice(used, n), grid)


def table(pairs, values, counts, linkage):
    """Statistics (value, count) by pair; parallel edges combined."""
    between = {}
    for (u, v), value, count in zip(np.asarray(pairs).tolist(), values.tolist(), counts.tolist(), strict=True):
        edge = (value, count if linkage == "mean" else 1)
        between[u, v] = COMBINE[linkage](between[u, v], edge) if (u, v) in between else edge
    return between


def weight(edge, offset):
    return offset + edge[0] / edge[1]


def merge(cluster, between, a, b, linkage):
    """Join cluster b > a to a."""
    cluster[cluster == b] = a
    for pair in [pair for pair in between if b in pair]:
        edge = between.pop(pair)
        other = pair[0] if pair[1] == b else pair[1]
        if other != a:
            pair = min(a, other), max(a, other)
            between[pair] = COMBINE[linkage](between[pair], edge) if pair in between else edge


def greedy(nodes, pairs, values, counts, linkage, offset=0.0):
    """Merge the strongest attracting pair, of equal ones that of the later names, until there is none."""
    cluster, between = np.arange(nodes), table(pairs, values, counts, linkage)
    while True:
        attracting = [(weight(edge, offset), max(pair), min(pair)) for pair, edge in between.items()]
        attracting = [entry for entry in attracting if entry[0] > 0]
        if not attracting:
            return cluster
        _, b, a = max(attracting)
        merge(cluster, between, a, b, linkage)


def merge_ripe(nodes, pairs, values, counts, linkage, generator, *, first=(), later=True):
    """Merge pairs that are each other's strongest, those within ``first`` first, until there are none."""
    cluster, between = np.arange(nodes), table(pairs, values, counts, linkage)
    sign = 1 if later else -1
    while True:
        strongest = {}
        for (u, v), edge in between.items():
            if weight(edge, 0.0) > 0:
                for x, other in ((u, v), (v, u)):
                    strongest[x] = max(strongest.get(x, (0.0,)), (weight(edge, 0.0), sign * other, other))
        ripe = [(x, s[2]) for x, s in strongest.items() if x < s[2] and strongest[s[2]][2] == x]
        if not ripe:
            return cluster
        chosen = [pair for pair in ripe if set(pair) <= set(first)] or ripe
        merge(cluster, between, *chosen[generator.integers(len(chosen))], linkage)
