"""The in-core solvers, against the textbook algorithms in plain Python and brute force."""

from __future__ import annotations

import bioimage_cpp as bic
import numpy as np
import pytest
from graph_checks import random_graph, same_partition
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.kernels.agglomerate import contract_linkage
from bigseg.kernels.multicut import energy, lifted_multicut
from bigseg.kernels.solvers import gasp

SOLVERS = {
    "mutex_watershed": lambda nodes, pairs, weights: watershed(nodes, pairs, weights),
    "multicut": lambda nodes, pairs, weights: multicut(nodes, pairs, weights),
} | {
    f"gasp-{linkage}": lambda nodes, pairs, weights, linkage=linkage: gasp(
        nodes, pairs, weights, np.ones(len(pairs)), linkage
    )
    for linkage in ("mean", "max", "min", "sum", "abs_max")
}
SEEDS = st.integers(0, 2**32)


def watershed(nodes, pairs, weights):
    return contract_linkage(nodes, pairs, weights, linkage="abs_max").clusters


def multicut(nodes, pairs, costs):
    return lifted_multicut(nodes, pairs, costs, np.ones(len(costs), bool))


def signed_graph(seed, largest):
    """A random graph with distinct signed weights and contact areas."""
    generator = np.random.default_rng(seed)
    nodes = int(generator.integers(2, largest + 1))
    pairs = random_graph(generator, nodes, generator.uniform(0.2, 1))
    return nodes, pairs, generator.normal(0.1, 1, len(pairs)), generator.integers(1, 20, len(pairs)).astype(np.float64)


def plain_average_linkage(nodes, pairs, weights, sizes):
    """Merge the pair of clusters with the largest mean weight while it is positive."""
    clusters = {n: [n] for n in range(nodes)}
    between = {
        tuple(pair): (size * weight, size) for pair, weight, size in zip(pairs.tolist(), weights, sizes, strict=True)
    }
    while between:
        (a, b), (total, _) = max(between.items(), key=lambda item: item[1][0] / item[1][1])
        if total <= 0:
            break
        clusters[a] += clusters.pop(b)
        merged = {}
        for pair, (weight, size) in between.items():
            u, v = sorted(a if n == b else n for n in pair)
            if u != v:
                before = merged.get((u, v), (0.0, 0.0))
                merged[u, v] = (before[0] + weight, before[1] + size)
        between = merged
    return np.array([next(c for c, members in clusters.items() if n in members) for n in range(nodes)])


def plain_watershed(nodes, pairs, weights):
    """Go through all edges from the strongest: join, unless forbidden, or forbid, unless joined."""
    cluster, forbidden = list(range(nodes)), set()
    for index in np.argsort(-abs(weights)):
        a, b = (cluster[n] for n in pairs[index].tolist())
        if a == b:
            continue
        if weights[index] < 0:
            forbidden.add(frozenset((a, b)))
        elif frozenset((a, b)) not in forbidden:
            cluster = [a if c == b else c for c in cluster]
            forbidden = {frozenset(a if c == b else c for c in pair) for pair in forbidden}
    return np.array(cluster)


def partitions(nodes):
    """All partitions, as restricted growth strings."""
    found = [[0]]
    for _ in range(nodes - 1):
        found = [[*p, c] for p in found for c in range(max(p) + 2)]
    return np.array(found)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(5))
def test_planted_clusters_are_found(solver, seed):
    generator = np.random.default_rng(seed)
    planted = generator.integers(0, 6, 60)
    pairs = random_graph(generator, 60, 0.7)
    joined = planted[pairs[:, 0]] == planted[pairs[:, 1]]
    weights = np.where(joined, 1, -1) * generator.uniform(0.5, 1, len(pairs))
    assert same_partition(SOLVERS[solver](60, pairs, weights), planted)


@given(SEEDS)
@settings(max_examples=80, deadline=None)
def test_mutex_watershed_is_the_sequential_algorithm(seed):
    nodes, pairs, weights, _ = signed_graph(seed, 30)
    assert same_partition(watershed(nodes, pairs, weights), plain_watershed(nodes, pairs, weights))


@given(SEEDS)
@settings(max_examples=80, deadline=None)
def test_mean_linkage_is_the_cubic_algorithm(seed):
    nodes, pairs, weights, sizes = signed_graph(seed, 25)
    found = gasp(nodes, pairs, weights, sizes, "mean")
    assert same_partition(found, plain_average_linkage(nodes, pairs, weights, sizes))


def test_mean_linkage_weights_edges_with_their_contact_areas():
    """After 0 and 1 have merged, the large attractive contact with 2 outweighs the small repulsive one, or not."""
    pairs = np.array([[0, 1], [0, 2], [1, 2]], np.uint64)
    weights = np.array([1.0, 0.4, -0.5])
    assert len(np.unique(gasp(3, pairs, weights, np.array([1.0, 9.0, 1.0]), "mean"))) == 1
    assert len(np.unique(gasp(3, pairs, weights, np.array([1.0, 1.0, 9.0]), "mean"))) == 2


def test_multicut_lies_between_the_optimum_and_the_greedy_solution():
    optimal = better = 0
    for seed in range(60):
        nodes, pairs, costs, _ = signed_graph(seed, 7)
        costs -= 0.1
        found = energy(pairs, costs, multicut(nodes, pairs, costs))
        graph = bic.graph.UndirectedGraph.from_unique_edges(nodes, pairs)
        objective = bic.graph.multicut.MulticutObjective(graph, costs)
        greedy = energy(pairs, costs, np.asarray(bic.graph.multicut.GreedyAdditiveMulticut().optimize(objective)))
        optimum = min(energy(pairs, costs, clusters) for clusters in partitions(nodes))
        assert optimum - 1e-9 <= found <= greedy + 1e-9
        optimal += found <= optimum + 1e-9
        better += found < greedy - 1e-9
    assert optimal >= 54  # no guarantee: it is a local search
    assert better > 0


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_multicut_is_no_worse_than_greedy_on_larger_graphs(seed):
    nodes, pairs, costs, _ = signed_graph(seed, 80)
    graph = bic.graph.UndirectedGraph.from_unique_edges(nodes, pairs)
    objective = bic.graph.multicut.MulticutObjective(graph, costs)
    greedy = np.asarray(bic.graph.multicut.GreedyAdditiveMulticut().optimize(objective))
    assert energy(pairs, costs, multicut(nodes, pairs, costs)) <= energy(pairs, costs, greedy) + 1e-9


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("nodes", [0, 1, 4])
def test_without_edges_every_node_stays_alone(solver, nodes):
    clusters = SOLVERS[solver](nodes, np.zeros((0, 2), np.uint64), np.zeros(0))
    assert len(clusters) == len(np.unique(clusters)) == nodes


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_isolated_nodes_stay_alone(solver, weight):
    clusters = SOLVERS[solver](5, np.array([[1, 3]], np.uint64), np.array([weight]))
    assert same_partition(clusters, np.array([0, 1, 2, 1 if weight > 0 else 3, 4]))
