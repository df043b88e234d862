"""The mutex watershed piece by piece: against the sequential algorithm, bioimage_cpp, and itself in one piece."""

from __future__ import annotations

import bioimage_cpp as bic
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partition_checks import graphs

from bigseg.kernels.agglomerate import contract_linkage
from bigseg.kernels.climb import climb
from bigseg.kernels.clusters import name_clusters
from bigseg.kernels.superblock import Objective


def contract_mutex(nodes, pairs, weights, owned=None, threads=1):
    return contract_linkage(nodes, pairs, weights, owned, linkage="abs_max", threads=threads)


def mutex_watershed(number_of_nodes: int, pairs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The library's sequential algorithm."""
    joins = weights > 0
    graph = bic.graph.UndirectedGraph.from_edges(number_of_nodes, np.ascontiguousarray(pairs[joins]))
    return bic.graph.mutex_watershed.mutex_watershed_clustering(graph, weights[joins], pairs[~joins], -weights[~joins])


def sequential(nodes, pairs, weights):
    """Wolf et al. 2019, algorithm 1; equal magnitudes: repulsive edges first, then by the later names of clusters."""
    cluster, forbidden = np.arange(nodes), set()
    ends = pairs.astype(np.int64)
    for magnitude in np.unique(abs(weights))[::-1]:
        for u, v in cluster[ends[weights == -magnitude]].tolist():
            forbidden |= {(u, v), (v, u)} if u != v else set()
        while True:
            joins = {(max(pair), min(pair)) for pair in cluster[ends[weights == magnitude]].tolist()}
            joins = {(b, a) for b, a in joins if a != b and (a, b) not in forbidden and magnitude > 0}
            if not joins:
                break
            b, a = max(joins)
            cluster[cluster == b] = a
            forbidden = {(a if u == b else u, a if v == b else v) for u, v in forbidden}
    return cluster


@given(graphs(parallel=True) | graphs())
@settings(max_examples=600, deadline=None)
def test_in_core_is_the_sequential_algorithm_ties_and_parallel_edges_included(graph):
    found = contract_mutex(len(graph.ids), graph.pairs, graph.values)
    np.testing.assert_array_equal(found.clusters, sequential(len(graph.ids), graph.pairs, graph.values))
    assert found.settled.all()


@given(graphs(60, parallel=True) | graphs(60), st.integers(0, 3))
@settings(max_examples=700, deadline=None)
def test_blocks_give_the_in_core_partition(graph, levels):
    """Any two nodes may have edges, whatever blocks lie between: long-range edges are no special case."""
    found = climb(graph.ids, graph.edges, graph.blocks, graph.grid, levels, Objective("abs_max"))
    expected = graph.ids[contract_mutex(len(graph.ids), graph.pairs, graph.values).clusters]
    np.testing.assert_array_equal(found.names, expected)


@given(graphs(60, distinct=True))
@settings(max_examples=500, deadline=None)
def test_distinct_weights_give_the_partition_of_bioimage_cpp(graph):
    if not len(graph.pairs):
        return
    expected = name_clusters(graph.ids, mutex_watershed(len(graph.ids), graph.pairs, graph.values))
    found = contract_mutex(len(graph.ids), graph.pairs, graph.values)
    np.testing.assert_array_equal(graph.ids[found.clusters], expected)


@given(graphs(60, parallel=True), st.integers(2, 4))
@settings(max_examples=100, deadline=None)
def test_the_number_of_threads_changes_nothing(graph, threads):
    one = contract_mutex(len(graph.ids), graph.pairs, graph.values)
    more = contract_mutex(len(graph.ids), graph.pairs, graph.values, threads=threads)
    np.testing.assert_array_equal(one.clusters, more.clusters)


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_the_strongest_edge_of_a_node_decides_if_it_repels(graph):
    clusters = contract_mutex(len(graph.ids), graph.pairs, graph.values).clusters
    pairs = graph.pairs.astype(np.int64)
    for node in range(len(graph.ids)):
        mine = (pairs == node).any(axis=1)
        if not mine.any():
            continue
        strongest = np.abs(graph.values[mine]).max()
        for u, v in pairs[mine & (graph.values == -strongest) & (strongest > 0)]:
            assert clusters[u] != clusters[v]


@pytest.mark.parametrize(
    ("repulsion", "expected"),
    [(0.5, [0, 0, 0]), (0.8, [0, 0, 2]), (0.95, [0, 0, 2])],
    ids=["too late", "before the second join", "before both joins"],
)
def test_a_long_range_edge_cuts_a_chain_at_its_weakest_link(repulsion, expected):
    pairs = np.array([[0, 1], [1, 2], [0, 2]], np.uint64)
    assert contract_mutex(3, pairs, np.array([0.9, 0.6, -repulsion])).clusters.tolist() == expected


def test_edges_of_weight_zero_do_nothing():
    pairs = np.array([[0, 1], [1, 2]], np.uint64)
    assert contract_mutex(3, pairs, np.array([0.0, 1.0])).clusters.tolist() == [0, 1, 1]


def test_what_lies_outside_waits():
    """Node 1 prefers node 2, which is not owned; nodes 3 and 4 are certain."""
    pairs = np.array([[0, 1], [1, 2], [3, 4], [2, 3]], np.uint64)
    found = contract_mutex(5, pairs, np.array([0.5, 0.6, 0.9, -0.7]), np.array([True, True, False, True, True]))
    assert found.clusters.tolist() == [0, 1, 2, 3, 3]
    assert found.settled.tolist() == [False, False, False, True, True]
