"""Merging of small objects, against the same rule followed step by step on the whole graph of objects."""

from __future__ import annotations

import numpy as np
from graph_checks import edge_table, random_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.kernels.region_graph import empty_edges
from bigseg.kernels.small_objects import merge_small


def slowly(ids, sizes, edges, minimum):
    """Recompute the whole graph of objects after every merge."""
    contacts = list(
        zip(edges.u.tolist(), edges.v.tolist(), edges.count.tolist(), edges.probability.tolist(), strict=True)
    )
    name = {i: i for i in ids.tolist()}
    while True:
        voxels, between = {}, {}
        for i, n in zip(ids.tolist(), sizes.tolist(), strict=True):
            voxels[name[i]] = voxels.get(name[i], 0) + n
        for u, v, count, probability in contacts:
            for here, there in ((name[u], name[v]), (name[v], name[u])):
                if here != there:
                    faces, total = between.setdefault(here, {}).get(there, (0, 0))
                    between[here][there] = (faces + count, total + count * probability)
        small = [i for i in voxels if voxels[i] < minimum and i in between]
        if not small:
            return np.array([name[i] for i in ids.tolist()], np.uint64)
        node = min(small, key=lambda i: (voxels[i], i))
        around = between[node]
        best = min(around, key=lambda i: (around[i][1] / around[i][0], -around[i][0], i))
        name = {i: min(node, best) if n in (node, best) else n for i, n in name.items()}


@st.composite
def graphs(draw):
    """Few distinct probabilities, sizes and contacts, so that ties are common; in eighths, so that sums are exact."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    nodes = draw(st.integers(1, 14))
    ids = np.sort(generator.choice(2**62, nodes, replace=False)).astype(np.uint64)
    pairs = ids[random_graph(generator, nodes, draw(st.floats(0, 1))).astype(np.int64)]
    probability = (
        generator.integers(0, 255 * 8 + 1, len(pairs))
        if draw(st.booleans())
        else generator.integers(0, 3, len(pairs)) * 255
    )
    edges = edge_table(pairs, probability / (8 * 255), 2.0 ** generator.integers(0, 3, len(pairs)))
    return ids, generator.integers(1, 8, nodes).astype(np.uint64), edges


@given(graphs(), st.integers(0, 20))
@settings(max_examples=400, deadline=None)
def test_small_objects_merge_by_the_rule(graph, minimum):
    np.testing.assert_array_equal(merge_small(*graph, minimum), slowly(*graph, minimum))


@given(graphs(), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_what_stays_small_has_no_neighbour(graph, minimum):
    ids, sizes, edges = graph
    merged = merge_small(ids, sizes, edges, minimum)
    names, inverse = np.unique(merged, return_inverse=True)
    voxels = dict(zip(names.tolist(), np.bincount(inverse, sizes.astype(np.float64)).tolist(), strict=True))
    name = dict(zip(ids.tolist(), merged.tolist(), strict=True))
    for u, v in zip(edges.u.tolist(), edges.v.tolist(), strict=True):
        assert name[u] == name[v] or min(voxels[name[u]], voxels[name[v]]) >= minimum
    for number, members in ((n, ids[merged == n]) for n in names):
        assert number == members.min()


def test_without_objects_or_edges_nothing_happens():
    none, some = np.zeros(0, np.uint64), np.array([3, 5], np.uint64)
    assert merge_small(none, none, empty_edges(), 10).tolist() == []
    assert merge_small(some, some, empty_edges(), 10).tolist() == [3, 5]
