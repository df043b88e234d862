"""Multicut and lifted multicut: in core against brute force, in blocks against in core, and the lower bound."""

from __future__ import annotations

from functools import cache

import bioimage_cpp as bic
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multicut_problems import PROBLEMS, Problem
from partition_checks import Graph, graphs
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bigseg.kernels.climb import climb
from bigseg.kernels.multicut import contract_multicut, energy, lifted_multicut, lower_bound
from bigseg.kernels.signed_graph import SignedEdges
from bigseg.kernels.superblock import Objective, leaf, near, solve

SEEDS = st.integers(0, 2**32)
SIDE = 24
ROUNDING = 1e-9


def components(nodes, pairs):
    u, v = np.asarray(pairs, np.int64).reshape(-1, 2).T
    return connected_components(coo_array((np.ones(len(u)), (u, v)), shape=(nodes, nodes)), directed=False)[1]


def named(labels):
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse]


def connected(nodes, pairs, local, clusters):
    """The clusters' parts that local edges hold together, named by their smallest nodes."""
    ends = np.asarray(pairs, np.int64)[np.asarray(local, bool)]
    return named(components(nodes, ends[clusters[ends[:, 0]] == clusters[ends[:, 1]]])) if nodes else clusters


def partitions(nodes):
    """All partitions, as restricted growth strings."""
    found = [[0]]
    for _ in range(nodes - 1):
        found = [[*p, c] for p in found for c in range(max(p) + 2)]
    return np.array(found)


def optimum(nodes, pairs, costs, local):
    """Lowest energy of all partitions whose clusters are connected."""
    allowed = (p for p in partitions(nodes) if np.array_equal(connected(nodes, pairs, local, p), named(p)))
    return min(energy(pairs, costs, p) for p in allowed)


def some_lifted(graph, seed):
    """Which edges are local: all, or some."""
    generator = np.random.default_rng(seed)
    return generator.random(len(graph.pairs)) < generator.choice([0.3, 0.7, 1.0])


def edges_of(graph: Graph, local) -> SignedEdges:
    return SignedEdges(*graph.ids[graph.pairs.T], graph.values, local.astype(np.float64))


def joining(graph, local):
    """Energy when everything is joined that local edges connect."""
    everything = np.zeros(len(graph.ids), np.int64)
    return energy(graph.pairs, graph.values, connected(len(graph.ids), graph.pairs, local, everything))


@given(graphs(40, parallel=True), SEEDS)
@settings(max_examples=150, deadline=None)
def test_in_core(graph, seed):
    """Connected clusters with the names of their smallest nodes, no worse than joining or cutting everything."""
    nodes, local = len(graph.ids), some_lifted(graph, seed)
    clusters = lifted_multicut(nodes, graph.pairs, graph.values, local)
    np.testing.assert_array_equal(clusters, connected(nodes, graph.pairs, local, clusters))
    found = energy(graph.pairs, graph.values, clusters)
    assert found <= min(joining(graph, local), graph.values.sum()) + ROUNDING
    assert found >= lower_bound(nodes, graph.pairs, graph.values) - ROUNDING


@given(graphs(6), SEEDS)
@settings(max_examples=150, deadline=None)
def test_in_core_against_all_partitions(graph, seed):
    nodes, local = len(graph.ids), some_lifted(graph, seed)
    if not nodes:
        return
    least = optimum(nodes, graph.pairs, graph.values, local)
    assert lower_bound(nodes, graph.pairs, graph.values) <= least + ROUNDING
    assert energy(graph.pairs, graph.values, lifted_multicut(nodes, graph.pairs, graph.values, local)) >= (
        least - ROUNDING
    )


def test_small_problems_are_solved_to_the_optimum_nearly_always():
    optimal = {0.6: 0, 1.0: 0}
    for share in optimal:
        for seed in range(40):
            generator = np.random.default_rng(seed)
            pairs = np.stack(np.triu_indices(6, 1), axis=1)[generator.random(15) < 0.7]
            costs, local = generator.normal(size=len(pairs)), generator.random(len(pairs)) < share
            found = energy(pairs, costs, lifted_multicut(6, pairs, costs, local))
            optimal[share] += found <= optimum(6, pairs, costs, local) + ROUNDING
    assert min(optimal.values()) >= 36  # no guarantee: it is a local search


@given(graphs(60), st.integers(0, 3), st.integers(0, 4), SEEDS)
@settings(max_examples=200, deadline=None)
def test_blocks_give_a_valid_partition(graph, levels, halo, seed):
    nodes, local = len(graph.ids), some_lifted(graph, seed)
    objective = Objective("multicut", halo=halo)
    found = climb(graph.ids, edges_of(graph, local), graph.blocks, graph.grid, levels, objective)
    clusters = np.searchsorted(graph.ids, found.names)
    np.testing.assert_array_equal(clusters, connected(nodes, graph.pairs, local, clusters))
    cost = energy(graph.pairs, graph.values, clusters)
    assert cost >= lower_bound(nodes, graph.pairs, graph.values) - ROUNDING
    if local.all():
        assert cost <= joining(graph, local) + ROUNDING
    if not levels:
        np.testing.assert_array_equal(clusters, lifted_multicut(nodes, graph.pairs, graph.values, local))


@given(graphs(60), SEEDS)
@settings(max_examples=100, deadline=None)
def test_contraction(graph, seed):
    """Only owned nodes merge, in connected clusters; a settled one has no attracting neighbour."""
    generator = np.random.default_rng(seed)
    nodes, local = len(graph.ids), some_lifted(graph, seed)
    owned = generator.random(nodes) < generator.random()
    found = contract_multicut(nodes, graph.pairs, graph.values, local, owned)
    assert (owned | (found.clusters == np.arange(nodes))).all()
    np.testing.assert_array_equal(found.clusters, connected(nodes, graph.pairs, local, found.clusters))
    sums: dict[tuple[int, int], float] = {}
    for (u, v), cost in zip(np.sort(found.clusters[graph.pairs.astype(int)]).tolist(), graph.values, strict=True):
        if u != v:
            sums[u, v] = sums.get((u, v), 0.0) + cost
    attracted = {cluster for pair, cost in sums.items() if cost > 0 for cluster in pair}
    expected = owned & ~np.isin(found.clusters, sorted(attracted))
    np.testing.assert_array_equal(found.settled, expected)


@given(graphs(40), SEEDS, st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_threads_and_the_order_of_edges_change_nothing(graph, seed, threads):
    local, order = some_lifted(graph, seed), np.random.default_rng(seed).permutation(len(graph.pairs))
    one = lifted_multicut(len(graph.ids), graph.pairs, graph.values, local)
    other = lifted_multicut(
        len(graph.ids), graph.pairs[order, ::-1], graph.values[order], local[order], threads=threads
    )
    np.testing.assert_array_equal(one, other)


@given(graphs(30), SEEDS, st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_context(graph, seed, steps):
    """Nodes within some local edges, and every edge of the own nodes exactly once."""
    generator = np.random.default_rng(seed)
    local = some_lifted(graph, seed)
    inside = generator.random(len(graph.ids)) < 0.7
    own = graph.ids[inside & (generator.random(len(graph.ids)) < 0.5)]
    edges = edges_of(graph, local)
    around = leaf(graph.ids[inside], edges.take(inside[graph.pairs.astype(int)].any(axis=1)))
    found = near(around, own, steps)
    reached = set(own.tolist())
    touching = around.edges.take(around.edges.count > 0)
    links = list(zip(touching.u.tolist(), touching.v.tolist(), strict=True))
    for _ in range(steps):
        reached |= {y for u, v in links for x, y in ((u, v), (v, u)) if x in reached}
    assert found.nodes.tolist() == sorted(reached)
    within = [sorted(pair) for pair in zip(found.edges.u.tolist(), found.edges.v.tolist(), strict=True)]
    beyond = [sorted(pair) for pair in zip(found.inside.tolist(), found.crossing.v.tolist(), strict=True)]
    assert set(found.inside.tolist()) <= set(own.tolist())
    mine = [sorted(p) for p in zip(edges.u.tolist(), edges.v.tolist(), strict=True) if set(p) & set(own.tolist())]
    assert sorted([pair for pair in within if set(pair) & set(own.tolist())] + beyond) == sorted(mine)


@cache
def solved(name: str) -> tuple[Problem, np.ndarray, float]:
    """A problem, its pairs and its energy in core."""
    problem = PROBLEMS[name](SIDE, 0)
    edges = problem.edges
    pairs = np.stack([np.searchsorted(problem.ids, edges.u), np.searchsorted(problem.ids, edges.v)], axis=1)
    clusters = lifted_multicut(len(problem.ids), pairs, edges.value, edges.count > 0)
    return problem, pairs, energy(pairs, edges.value, clusters)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(
    ("grid", "levels"),
    [((2, 2, 2), 1), ((4, 4, 4), 2), ((1, 5, 3), 2), pytest.param((8, 8, 8), 3, marks=pytest.mark.slow)],
)
def test_the_gap_to_in_core_is_at_most_one_in_a_thousand(name, grid, levels):
    problem, pairs, in_core = solved(name)
    found = climb(problem.ids, problem.edges, problem.blocks(grid), grid, levels, Objective("multicut"))
    cost = energy(pairs, problem.edges.value, found.names)
    assert (cost - in_core) / abs(in_core) <= 0.001
    assert found.nodes_at_level[-1] < 0.6 * len(problem.ids)


@pytest.mark.parametrize("name", PROBLEMS)
def test_in_core_is_no_worse_than_the_solvers_of_bioimage_cpp(name):
    problem, pairs, in_core = solved(name)
    pairs, value, local = pairs.astype(np.uint64), problem.edges.value, problem.edges.count > 0
    order = np.lexsort((pairs[local, 1], pairs[local, 0]))
    base = bic.graph.UndirectedGraph.from_unique_edges(len(problem.ids), np.ascontiguousarray(pairs[local][order]))
    if local.all():
        objective = bic.graph.multicut.MulticutObjective(base, value[order])
        solvers = [bic.graph.multicut.GreedyAdditiveMulticut(), bic.graph.multicut.KernighanLinMulticut()]
    else:
        objective = bic.graph.lifted_multicut.LiftedMulticutObjective(
            base, value[local][order], lifted_uvs=pairs[~local], lifted_costs=value[~local]
        )
        lifted = bic.graph.lifted_multicut
        solvers = [lifted.LiftedGreedyAdditiveMulticut(), lifted.LiftedKernighanLinMulticut()]
    theirs = min(energy(pairs, value, np.asarray(solver.optimize(objective))) for solver in solvers)
    assert in_core <= theirs + 2e-5 * abs(theirs)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_bound_is_much_better_than_the_sum_of_negative_costs(name):
    problem, pairs, in_core = solved(name)
    value = problem.edges.value
    bound, negative = lower_bound(len(problem.ids), pairs, value), value[value < 0].sum()
    assert bound <= in_core
    share = {"cells": 0.02, "neurites": 0.02, "lifted_neurites": 0.02}.get(name, 0.25)
    assert in_core - bound < share * (in_core - negative)


@pytest.mark.parametrize("name", ["cells", "lifted_cells"])
def test_bounds_of_parts_add_up_to_a_bound(name):
    problem, pairs, in_core = solved(name)
    value, blocks = problem.edges.value, problem.blocks((2, 2, 2))
    owner = np.minimum(blocks[pairs[:, 0]], blocks[pairs[:, 1]])
    total = sum(
        lower_bound(len(problem.ids), pairs[owner == block], value[owner == block]) for block in np.unique(owner)
    )
    whole, negative = lower_bound(len(problem.ids), pairs, value), value[value < 0].sum()
    assert negative < total <= in_core
    assert in_core - total < 0.5 * (in_core - negative)
    assert abs(total - whole) < 0.1 * abs(in_core)


def test_bound_of_cycles():
    """A triangle and a square with a repulsive edge each pay their weakest edge; what is apart pays nothing."""
    triangle, square = [[0, 1], [1, 2], [0, 2]], [[3, 4], [4, 5], [5, 6], [3, 6]]
    pairs = np.array([*triangle, *square, [0, 7], [7, 8]])
    costs = np.array([2.0, 1.0, -5.0, 3.0, 4.0, 3.0, -2.0, -1.0, 6.0])
    assert lower_bound(9, pairs, costs) == -8 + 1 + 2
    assert lower_bound(9, pairs, np.abs(costs)) == 0
    assert lower_bound(9, pairs, -np.abs(costs)) == -np.abs(costs).sum()


def test_lifted_edges_separate_what_local_edges_would_join():
    """A chain whose ends repel is cut at its weakest edge; one whose ends attract is not cut, though an edge repels."""
    pairs = np.array([[0, 1], [1, 2], [2, 3], [0, 3]])
    local = np.array([True, True, True, False])
    costs = np.array([2.0, 1.0, 2.0, -5.0])
    assert lifted_multicut(4, pairs, costs, local).tolist() == [0, 0, 2, 2]
    assert lifted_multicut(4, pairs[:3], costs[:3], local[:3]).tolist() == [0, 0, 0, 0]
    assert lifted_multicut(4, pairs, np.array([2.0, -1.0, 2.0, 5.0]), local).tolist() == [0, 0, 0, 0]
    blocks, ids = np.arange(4), np.arange(4, dtype=np.uint64)
    edges = SignedEdges(*ids[pairs.T], costs, local.astype(np.float64))
    assert climb(ids, edges, blocks, (1, 1, 4), 2, Objective("multicut")).names.tolist() == [0, 0, 2, 2]


def test_a_lifted_edge_alone_joins_nothing():
    pairs, costs = np.array([[0, 1]]), np.array([5.0])
    assert lifted_multicut(2, pairs, costs, np.array([False])).tolist() == [0, 1]
    found = contract_multicut(2, pairs, costs, np.array([False]), np.array([True, True]))
    assert found.clusters.tolist() == [0, 1]
    assert not found.settled.any()


def test_clusters_attracted_by_what_is_not_in_the_context_stay():
    """Node 1 attracts node 2, which lies outside; node 0 repels everything and leaves."""
    ids = np.arange(1, 4, dtype=np.uint64)
    edges = SignedEdges(ids[[0, 1]], ids[[1, 2]], np.array([-1.0, 1.0]), np.ones(2))
    clusters, left = solve(leaf(ids[:2], edges), Objective("multicut"))
    assert clusters.tolist() == [1, 2]
    assert left.nodes.tolist() == [2]
    assert left.crossing.v.tolist() == [3]


@pytest.mark.parametrize("nodes", [0, 1, 7])
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_no_edges(nodes, levels):
    ids = np.arange(1, nodes + 1, dtype=np.uint64)
    nothing = SignedEdges(ids[:0], ids[:0], np.zeros(0), np.zeros(0))
    found = climb(ids, nothing, np.zeros(nodes, np.int64), (2, 1, 3), levels, Objective("multicut"))
    np.testing.assert_array_equal(found.names, ids)
    assert found.nodes_at_level == [nodes] + [0 if level else nodes for level in range(levels)][1:] + [0] * (levels > 0)
    assert lower_bound(nodes, np.zeros((0, 2), np.uint64), np.zeros(0)) == 0


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_one_sign(sign, levels):
    """A cycle through all blocks: everything or nothing merges."""
    nodes = 200
    u, v = np.sort(np.stack([np.arange(nodes), np.roll(np.arange(nodes), 1)]), axis=0)
    ids = np.arange(nodes, dtype=np.uint64)
    edges = SignedEdges(ids[u], ids[v], sign * (1 + np.arange(nodes) % 7.0), np.ones(nodes))
    found = climb(ids, edges, np.arange(nodes) % 8, (2, 2, 2), levels, Objective("multicut"))
    np.testing.assert_array_equal(found.names, np.zeros(nodes) if sign > 0 else ids)


def test_too_many_nodes_are_refused():
    with pytest.raises(ValueError, match="fewer than"):
        lifted_multicut(2**31, np.zeros((0, 2), np.int64), np.zeros(0), np.zeros(0, bool))
