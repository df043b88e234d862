"""Agglomeration piece by piece: against greedy agglomeration in plain Python, bioimage_cpp, and itself in one piece."""

from __future__ import annotations

import bioimage_cpp as bic
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partition_checks import Graph, graphs, greedy, merge_ripe, table
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bigseg.kernels.agglomerate import LINKAGES, NOT_REDUCIBLE, Contraction, contract_average, contract_linkage
from bigseg.kernels.climb import climb
from bigseg.kernels.clusters import name_clusters
from bigseg.kernels.costs import linear_weights
from bigseg.kernels.signed_graph import SignedEdges, contract_edges, follow
from bigseg.kernels.solvers import gasp
from bigseg.kernels.superblock import Objective

LINKAGE = st.sampled_from(sorted(LINKAGES))
OFFSET = st.sampled_from([0.0, 1 - 0.45, -0.7])
SEEDS = st.integers(0, 2**32)


def contract(graph: Graph, linkage: str, offset: float = 0.0, owned=None, threads: int = 1) -> Contraction:
    nodes = len(graph.ids)
    if linkage == "mean":
        return contract_average(nodes, graph.pairs, graph.values, graph.counts, owned, offset=offset, threads=threads)
    return contract_linkage(nodes, graph.pairs, graph.values, owned, linkage=linkage, threads=threads)


@given(graphs(), LINKAGE, OFFSET)
@settings(max_examples=500, deadline=None)
def test_in_core_is_the_greedy_algorithm_ties_included(graph, linkage, offset):
    offset = offset if linkage == "mean" else 0.0
    expected = greedy(len(graph.ids), graph.pairs, graph.values, graph.counts, linkage, offset)
    found = contract(graph, linkage, offset)
    np.testing.assert_array_equal(found.clusters, expected)
    assert found.settled.all()


@given(graphs(60), st.integers(0, 3), LINKAGE, OFFSET)
@settings(max_examples=700, deadline=None)
def test_blocks_give_the_in_core_partition(graph, levels, linkage, offset):
    offset = offset if linkage == "mean" else 0.0
    found = climb(graph.ids, graph.edges, graph.blocks, graph.grid, levels, Objective(linkage, offset))
    expected = graph.ids[contract(graph, linkage, offset).clusters]
    np.testing.assert_array_equal(found.names, expected)
    assert len(found.nodes_at_level) == levels + 1
    assert found.nodes_at_level[0] == len(graph.ids)


@given(graphs(40, distinct=True), LINKAGE)
@settings(max_examples=500, deadline=None)
def test_distinct_weights_give_the_partition_of_bioimage_cpp(graph, linkage):
    if not len(graph.pairs):
        return
    weights = graph.values / graph.counts if linkage == "mean" else graph.values
    expected = name_clusters(graph.ids, gasp(len(graph.ids), graph.pairs, weights, graph.counts, linkage))
    np.testing.assert_array_equal(graph.ids[contract(graph, linkage).clusters], expected)


@given(graphs(60), LINKAGE, SEEDS)
@settings(max_examples=500, deadline=None)
def test_any_owned_nodes_may_be_contracted_first(graph, linkage, seed):
    """Twice in a row, with edges as the kernel gets them: parallel ones, all incident ones, no others."""
    generator = np.random.default_rng(seed)
    expected = graph.ids[contract(graph, linkage).clusters]
    ids, edges, names = graph.ids, graph.edges, graph.ids
    for share in (generator.random(), generator.random(), 1.0):
        owned = generator.random(len(ids)) < share
        pairs = np.stack([np.searchsorted(ids, edges.u), np.searchsorted(ids, edges.v)], axis=1).astype(np.uint64)
        seen = owned[pairs].any(axis=1)
        part = Graph(ids, pairs[seen], edges.value[seen], edges.count[seen], graph.blocks, graph.grid)
        found = contract(part, linkage, owned=owned)
        assert (owned | (found.clusters == np.arange(len(ids)))).all(), "a node that is not owned was merged"
        final = found.settled
        assert not final[~owned].any()
        clusters = ids[found.clusters]
        names = follow(names, ids, clusters)
        for name in np.unique(clusters[final]):
            np.testing.assert_array_equal(names == name, expected == name)
        edges, ids = contract_edges(edges, ids, clusters, linkage), np.unique(clusters)
    np.testing.assert_array_equal(names, expected)


@given(graphs(60), LINKAGE, st.integers(2, 5))
@settings(max_examples=200, deadline=None)
def test_the_number_of_threads_changes_nothing(graph, linkage, threads):
    one, more = contract(graph, linkage), contract(graph, linkage, threads=threads)
    np.testing.assert_array_equal(one.clusters, more.clusters)
    np.testing.assert_array_equal(one.settled, more.settled)


@given(graphs(40), SEEDS)
@settings(max_examples=200, deadline=None)
def test_parts_and_order_of_edges_change_nothing(graph, seed):
    """Sums are exact: an edge cut into parts, in any order and direction, is the same edge."""
    generator = np.random.default_rng(seed)
    part = np.rint(4 * graph.values * generator.random(len(graph.values))) / 4
    share = generator.integers(1, 8, len(part)) / 8 * graph.counts
    order = generator.permutation(2 * len(part))
    pairs = np.concatenate([graph.pairs, graph.pairs[:, ::-1]])[order]
    values = np.concatenate([part, graph.values - part])[order]
    counts = np.concatenate([share, graph.counts - share])[order]
    found = contract_average(len(graph.ids), pairs, values, counts)
    np.testing.assert_array_equal(found.clusters, contract(graph, "mean").clusters)


@given(SEEDS, st.sampled_from([0.1, 0.3, 0.45, 0.5, 0.7]))
@settings(max_examples=50, deadline=None)
def test_weights_are_those_of_the_linear_weights(seed, beta):
    """The offset, a negated sum and a count of 255 per face are rounded as ``(1 - beta) - outside / (255 count)``."""
    generator = np.random.default_rng(seed)
    count = generator.integers(1, 10**6, 1000).astype(np.float64)
    outside = np.rint(2 * 255 * count * generator.random(1000)) / 2
    expected = linear_weights(outside / (255 * count), beta)
    np.testing.assert_array_equal((1 - beta) + -outside / (255 * count), expected)


@given(graphs(60))
@settings(max_examples=100, deadline=None)
def test_max_linkage_gives_components_of_attracting_edges(graph):
    u, v = graph.pairs[graph.values > 0].T.astype(np.int64)
    matrix = coo_array((np.ones(len(u)), (u, v)), shape=(len(graph.ids),) * 2)
    expected = name_clusters(graph.ids, connected_components(matrix)[1]) if len(graph.ids) else graph.ids
    np.testing.assert_array_equal(graph.ids[contract(graph, "max").clusters], expected)


@given(graphs(20, parallel=True), LINKAGE, SEEDS)
@settings(max_examples=200, deadline=None)
def test_contracted_edges(graph, linkage, seed):
    clusters = np.minimum.accumulate(graph.ids[np.random.default_rng(seed).permutation(len(graph.ids))])
    found = contract_edges(graph.edges, graph.ids, clusters, linkage)
    ends = np.sort(clusters[graph.pairs.astype(np.int64)], axis=1)
    kept = ends[:, 0] != ends[:, 1]
    expected = table(ends[kept], graph.values[kept], graph.counts[kept], linkage)
    pairs = list(zip(found.u.tolist(), found.v.tolist(), strict=True))
    assert pairs == sorted(expected)
    np.testing.assert_array_equal(found.value, [expected[pair][0] for pair in pairs])
    assert found.count.sum() == graph.counts[kept].sum()


@given(graphs(12), LINKAGE, SEEDS)
@settings(max_examples=200, deadline=None)
def test_any_order_of_ripe_merges_gives_the_greedy_partition(graph, linkage, seed):
    """Theorem 1, in plain Python."""
    arguments = len(graph.ids), graph.pairs, graph.values, graph.counts, linkage
    found = merge_ripe(*arguments, np.random.default_rng(seed))
    np.testing.assert_array_equal(found, greedy(*arguments))


def test_preferring_earlier_names_would_depend_on_the_blocks():
    """Node 2 ties between 1 and 3; that 3 merges with 0 makes its name the earlier one."""
    pairs = np.array([[1, 2], [2, 3], [0, 3], [1, 3]])
    values = np.array([1.0, 1.0, 2.0, -3.0])
    arguments = 4, pairs, values, np.ones(4), "mean", np.random.default_rng(0)
    alone, after = (merge_ripe(*arguments, first=first, later=False).tolist() for first in ((1, 2), (0, 3)))
    assert alone == [0, 1, 1, 0]
    assert after == [0, 1, 0, 0]
    assert merge_ripe(*arguments, first=(1, 2)).tolist() == merge_ripe(*arguments, first=(0, 3)).tolist() == alone


def test_sum_linkage_is_refused_because_it_would_depend_on_the_blocks():
    """Nodes 0 and 1 are each other's strongest until 2 and 3 merge and attract 0 more, together, than 1 does."""
    pairs = np.array([[0, 1], [0, 2], [0, 3], [2, 3], [1, 2]])
    values = np.array([3.0, 2.0, 2.0, 5.0, -4.0])
    arguments = 4, pairs, values, np.ones(5), "sum"
    assert greedy(*arguments).tolist() == [0, 1, 0, 0]
    assert merge_ripe(*arguments, np.random.default_rng(0), first=(0, 1)).tolist() == [0, 0, 2, 2]
    with pytest.raises(ValueError, match="sum: the sum of two edges can be stronger than both"):
        contract_linkage(4, pairs, values, linkage="sum")
    assert set(NOT_REDUCIBLE) | set(LINKAGES) == set(bic.graph.agglomeration.GaspClusterPolicy._LINKAGE) - {
        "mutex_watershed"
    }


def test_mean_needs_counts():
    with pytest.raises(ValueError, match="linkage mean: must be max, min or abs_max"):
        contract_linkage(2, np.array([[0, 1]]), np.ones(1), linkage="mean")


@pytest.mark.parametrize("linkage", sorted(LINKAGES))
@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("nodes", [0, 1, 7])
def test_no_edges(linkage, levels, nodes):
    ids = np.arange(1, nodes + 1, dtype=np.uint64)
    nothing = SignedEdges(ids[:0], ids[:0], np.zeros(0), np.zeros(0))
    found = climb(ids, nothing, np.zeros(nodes, np.int64), (2, 1, 3), levels, Objective(linkage))
    np.testing.assert_array_equal(found.names, ids)
    assert found.nodes_at_level == [nodes] + [0] * levels


@pytest.mark.parametrize("linkage", sorted(LINKAGES))
@pytest.mark.parametrize("sign", [-1, 1])
def test_one_sign(linkage, sign):
    """A cycle through all blocks: everything or nothing merges."""
    nodes = 200
    pairs = np.sort(np.stack([np.arange(nodes), np.roll(np.arange(nodes), 1)], axis=1), axis=1).astype(np.uint64)
    values = sign * np.arange(1.0, nodes + 1) % 7 + sign
    ids = np.arange(nodes, dtype=np.uint64)
    graph = Graph(ids, pairs, values, np.ones(nodes), np.arange(nodes) % 8, (2, 2, 2))
    graph = graph if sign > 0 else Graph(ids, pairs, -np.abs(values), np.ones(nodes), graph.blocks, graph.grid)
    expected = ids if sign < 0 else np.zeros_like(ids)
    np.testing.assert_array_equal(contract(graph, linkage).clusters, expected)
    found = climb(ids, graph.edges, graph.blocks, graph.grid, 1, Objective(linkage))
    np.testing.assert_array_equal(found.names, expected)


def test_a_grid_of_thousands_of_nodes_in_blocks():
    """Spatial blocks, distinct weights: in core, in 4 × 4 × 4 blocks and by bioimage_cpp."""
    generator = np.random.default_rng(5)
    shape = (24, 24, 24)
    index = np.arange(24**3).reshape(shape)
    pairs = np.concatenate(
        [
            np.stack([a.ravel(), b.ravel()], axis=1)
            for a, b in ((index[:-1], index[1:]), (index[:, :-1], index[:, 1:]), (index[:, :, :-1], index[:, :, 1:]))
        ]
    )
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.uint64)
    counts = generator.integers(1, 300, len(pairs)).astype(np.float64)
    values = np.rint(2**20 * counts * generator.uniform(-0.6, 1, len(pairs)))
    z, y, x = np.indices(shape).reshape(3, -1) // 6
    graph = Graph(index.ravel().astype(np.uint64), pairs, values, counts, (z * 4 + y) * 4 + x, (4, 4, 4))
    expected = graph.ids[contract(graph, "mean").clusters]
    found = climb(graph.ids, graph.edges, graph.blocks, graph.grid, 2, Objective("mean"))
    np.testing.assert_array_equal(found.names, expected)
    assert 100 < len(np.unique(expected)) < 24**3 / 2
    assert found.nodes_at_level[2] < found.nodes_at_level[1] < 0.6 * found.nodes_at_level[0]
    weights = values / counts
    np.testing.assert_array_equal(name_clusters(graph.ids, gasp(24**3, pairs, weights, counts, "mean")), expected)
