"""Merging of small objects, against the same rule followed step by step on the whole graph of objects."""

from __future__ import annotations

import numpy as np
from graph_checks import all_edges, grids, random_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bigseg.geometry.grid import supervoxel_id_range
from bigseg.kernels.clusters import name_clusters
from bigseg.kernels.region_graph import block_edges
from bigseg.kernels.small_objects import Contacts, add_up_contacts, contract_contacts, may_be_small, merge_small

_NO_IDS = np.zeros(0, np.uint64)
NO_CONTACTS = Contacts(_NO_IDS, _NO_IDS, np.zeros(0), np.zeros(0))


def slowly(ids, sizes, edges, minimum):
    """Recompute the whole graph of objects after every merge."""
    contacts = list(zip(*(column.tolist() for column in edges.columns().values()), strict=True))
    name = {i: i for i in ids.tolist()}
    while True:
        voxels, between = {}, {}
        for i, n in zip(ids.tolist(), sizes.tolist(), strict=True):
            voxels[name[i]] = voxels.get(name[i], 0) + n
        for u, v, count, outside in contacts:
            for here, there in ((name[u], name[v]), (name[v], name[u])):
                if here != there:
                    faces, total = between.setdefault(here, {}).get(there, (0, 0))
                    between[here][there] = (faces + count, total + outside)
        small = [i for i in voxels if voxels[i] < minimum and i in between]
        if not small:
            return np.array([name[i] for i in ids.tolist()], np.uint64)
        node = min(small, key=lambda i: (voxels[i], i))
        around = between[node]
        best = min(around, key=lambda i: (around[i][1] / around[i][0], -around[i][0], i))
        name = {i: min(node, best) if n in (node, best) else n for i, n in name.items()}


@st.composite
def graphs(draw):
    """Few distinct probabilities, sizes and contacts, so that ties are common; in halves, so that sums are exact."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    nodes = draw(st.integers(1, 14))
    ids = np.sort(generator.choice(2**62, nodes, replace=False)).astype(np.uint64)
    pairs = ids[random_graph(generator, nodes, draw(st.floats(0, 1))).astype(np.int64)]
    count = 2.0 ** generator.integers(0, 3, len(pairs))
    mean = generator.integers(0, 511, len(pairs)) if draw(st.booleans()) else 85 * generator.integers(0, 3, len(pairs))
    return ids, generator.integers(1, 8, nodes).astype(np.uint64), Contacts(*pairs.T, count, count * mean / 2)


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
    assert merge_small(none, none, NO_CONTACTS, 10).tolist() == []
    assert merge_small(some, some, NO_CONTACTS, 10).tolist() == [3, 5]


@given(grids(), st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_blocks_tell_all_that_the_whole_graph_tells(grid, seed, values, minimum):
    """Objects are connected, of supervoxels cut by block faces; some values are background."""
    generator = np.random.default_rng(seed)
    image = generator.integers(0, values + 1, grid.shape)
    supervoxels = components_in_blocks(image, grid)
    boundary = generator.integers(0, 256, grid.shape).astype(np.uint8)
    nothing = np.zeros(grid.shape, np.uint8)
    ids, voxels = np.unique(supervoxels[supervoxels > 0], return_counts=True)
    tables = []
    for index in range(grid.number_of_blocks):
        outer = grid.box(index).grow((0, 0, 0), (1, 1, 1), grid.shape).slices
        tables.append(block_edges(supervoxels[outer], boundary[outer], nothing[outer], grid.box(index).shape))
    edges = all_edges(tables)
    joins = generator.random(len(edges)) < 0.5
    objects = name_clusters(ids, components(ids, edges, joins)) if len(ids) else ids

    parts = []
    for index, table in enumerate(tables):
        first, past = supervoxel_id_range(index)
        rows = (ids >= first) & (ids < past)
        ends = np.unique(np.concatenate([ids[rows], table.u, table.v]))
        around = objects[np.searchsorted(ids, ends)]
        parts.append(may_be_small(ids[rows], voxels[rows].astype(np.uint64), contacts_of(table), ends, around, minimum))
    contacts = add_up_contacts([part.contacts for part in parts])
    known, inverse = np.unique(np.concatenate([part.ids for part in parts]), return_inverse=True)
    total = np.bincount(inverse, np.concatenate([part.sizes for part in parts]), len(known))
    every = np.unique(np.concatenate([known, contacts.u, contacts.v]))
    sizes = np.full(len(every), minimum, np.uint64)
    sizes[np.searchsorted(every, known)] = total
    found = dict(zip(every.tolist(), merge_small(every, sizes, contacts, minimum).tolist(), strict=True))

    names, inverse = np.unique(objects, return_inverse=True)
    whole = np.bincount(inverse, voxels, len(names)).astype(np.uint64)
    expected = merge_small(names, whole, contract_contacts(contacts_of(edges), ids, objects), minimum)
    assert [found.get(name, name) for name in names.tolist()] == expected.tolist()
    assert set(known.tolist()) >= set(names[whole < minimum].tolist())


def contacts_of(edges):
    return Contacts(edges.u, edges.v, edges.count, edges.outside)


def rows_of(contacts):
    return list(zip(*(column.tolist() for column in contacts.columns().values()), strict=True))


@given(graphs(), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_contacts_of_objects_are_the_sums_of_those_of_their_parts(graph, seed):
    """In one step, in two, and in parts that share pairs."""
    ids, _, contacts = graph
    generator = np.random.default_rng(seed)
    first = ids[[generator.integers(0, i + 1) for i in range(len(ids))]]
    names = np.unique(first)
    second = names[[generator.integers(0, i + 1) for i in range(len(names))]]
    both = second[np.searchsorted(names, first)]
    expected = {}
    for u, v, count, outside in rows_of(contacts):
        a, b = sorted(int(both[ids == end][0]) for end in (u, v))
        faces, total = expected.get((a, b), (0, 0))
        expected[a, b] = (faces + count, total + outside)
    wanted = sorted((a, b, *sums) for (a, b), sums in expected.items() if a != b)
    assert rows_of(contract_contacts(contacts, ids, both)) == wanted
    assert rows_of(contract_contacts(contract_contacts(contacts, ids, first), names, second)) == wanted
    part = generator.random(len(contacts)) < 0.5
    parts = [contract_contacts(contacts.take(rows), ids, both) for rows in (part, ~part)]
    assert rows_of(add_up_contacts(parts)) == wanted


def components_in_blocks(image, grid):
    """Supervoxels: in each block the connected parts of equal values above 0."""
    labels = np.zeros(grid.shape, np.uint64)
    for index in range(grid.number_of_blocks):
        slices = grid.box(index).slices
        count = supervoxel_id_range(index)[0]
        for value in np.unique(image[slices][image[slices] > 0]):
            found, number = label(image[slices] == value)
            labels[slices] += np.where(found > 0, found.astype(np.uint64) + np.uint64(count), np.uint64(0))
            count += number
    return labels


def components(ids, edges, joins):
    """The component of each node when some edges join."""
    ends = [np.searchsorted(ids, end[joins]) for end in (edges.u, edges.v)]
    return connected_components(coo_array((np.ones(len(ends[0])), ends), shape=(len(ids),) * 2))[1]
