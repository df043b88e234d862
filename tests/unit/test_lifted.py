"""Lifted edges: pairs in a graph neighbourhood, their costs, and that blocks make the same ones as the whole."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.geometry.grid import Grid
from bigseg.kernels.costs import log_odds_costs
from bigseg.kernels.evidence import LongRange, add_up, boundary_from_affinity, long_range, most_frequent
from bigseg.kernels.lifted import (
    Numbers,
    affinity_costs,
    assign,
    label_costs,
    neighbourhood_pairs,
    repulsive_edges,
    sum_costs,
)

# Pairs in a graph neighbourhood


@dataclass(frozen=True)
class Neighbourhoods:
    """A graph whose nodes lie in blocks and have labels."""

    ids: np.ndarray
    u: np.ndarray
    v: np.ndarray
    nucleus: np.ndarray
    semantic: np.ndarray
    blocks: np.ndarray
    grid: Grid


@st.composite
def neighbourhoods(draw: st.DrawFn, blocks_per_axis: int = 4) -> Neighbourhoods:
    """Sparse graphs; as in a region graph, contacts join nodes of one block or of blocks that touch."""
    n = draw(st.integers(0, 30))
    per_axis = draw(st.tuples(*[st.integers(1, blocks_per_axis)] * 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    grid = Grid(per_axis, (1, 1, 1))
    blocks = np.sort(generator.integers(0, grid.number_of_blocks, n))
    a, b = np.triu_indices(n, 1)
    near = np.array([blocks[y] in around(grid, int(blocks[x])) for x, y in zip(a, b, strict=True)], bool)
    chosen = np.flatnonzero(near & (generator.random(len(a)) < draw(st.floats(0, 0.5))))
    chosen = np.repeat(chosen, generator.integers(1, 3, len(chosen)))  # some contacts twice
    ids = np.sort(generator.choice(10 * n + 1, n, replace=False)).astype(np.uint64) + np.uint64(1)
    nucleus, semantic = generator.integers(0, 4, (2, n)).astype(np.uint64)
    return Neighbourhoods(ids, ids[a[chosen]], ids[b[chosen]], nucleus, semantic, blocks, grid)


def around(grid: Grid, block: int) -> list[int]:
    return grid.neighbourhood(block, (1, 1, 1), (1, 1, 1))


def brute_force(graph: Neighbourhoods, distance: int, inside: np.ndarray) -> set[tuple[int, int]]:
    """Wanted pairs that a path of at most ``distance`` contacts joins, all of whose nodes are ``inside``."""
    n = len(graph.ids)
    allowed = set(graph.ids[inside].tolist())
    neighbours = {x: set() for x in allowed}
    for x, y in zip(graph.u.tolist(), graph.v.tolist(), strict=True):
        if x in allowed and y in allowed:
            neighbours[x].add(y)
            neighbours[y].add(x)
    found = set()
    for x, y in itertools.combinations(range(n), 2):
        start, end = int(graph.ids[x]), int(graph.ids[y])
        if not {start, end} <= allowed:
            continue
        reached = {start}
        for _ in range(distance):
            reached |= {z for r in reached for z in neighbours[r]}
        nuclei = graph.nucleus[x] and graph.nucleus[y]
        classes = graph.semantic[x] and graph.semantic[y] and graph.semantic[x] != graph.semantic[y]
        if end in reached and (nuclei or classes):
            found.add((x, y))
    return found


def pairs_of(graph: Neighbourhoods, distance: int, owned: np.ndarray, inside: np.ndarray) -> list[tuple[int, int]]:
    """What the kernel finds in the part of the graph that is ``inside``."""
    known = graph.ids[inside]
    kept = np.isin(graph.u, known) & np.isin(graph.v, known)
    a, b = neighbourhood_pairs(
        np.searchsorted(known, graph.u[kept]),
        np.searchsorted(known, graph.v[kept]),
        owned[inside],
        graph.nucleus[inside],
        graph.semantic[inside],
        distance,
    )
    places = np.flatnonzero(inside)
    return list(zip(places[a].tolist(), places[b].tolist(), strict=True))


@settings(max_examples=100, deadline=None)
@given(neighbourhoods(), st.integers(1, 5))
def test_pairs_are_those_of_brute_force(graph, distance):
    everything = np.ones(len(graph.ids), bool)
    found = pairs_of(graph, distance, everything, everything)
    assert found == sorted(brute_force(graph, distance, everything))


@settings(max_examples=100, deadline=None)
@given(neighbourhoods(), st.integers(1, 5))
def test_blocks_find_the_pairs_of_paths_in_the_blocks_around_them(graph, distance):
    found = []
    for block in range(graph.grid.number_of_blocks):
        inside = np.isin(graph.blocks, around(graph.grid, block))
        own = pairs_of(graph, distance, graph.blocks == block, inside)
        expected = {pair for pair in brute_force(graph, distance, inside) if graph.blocks[pair[0]] == block}
        assert own == sorted(expected)
        found += own
    assert len(found) == len(set(found))
    for x, y in found:
        assert graph.blocks[y] in around(graph.grid, int(graph.blocks[x]))
    assert set(found) <= brute_force(graph, distance, np.ones(len(graph.ids), bool))


@settings(max_examples=100, deadline=None)
@given(neighbourhoods(blocks_per_axis=2), st.integers(1, 5))
def test_blocks_find_all_pairs_where_every_block_touches_every_other(graph, distance):
    found = []
    for block in range(graph.grid.number_of_blocks):
        inside = np.isin(graph.blocks, around(graph.grid, block))
        found += pairs_of(graph, distance, graph.blocks == block, inside)
    assert set(found) == brute_force(graph, distance, np.ones(len(graph.ids), bool))


@settings(max_examples=50, deadline=None)
@given(neighbourhoods(blocks_per_axis=6))
def test_contacts_are_found_in_any_grid(graph):
    """A path of one contact lies in the blocks around its owner, so the limit takes nothing."""
    found = []
    for block in range(graph.grid.number_of_blocks):
        inside = np.isin(graph.blocks, around(graph.grid, block))
        found += pairs_of(graph, 1, graph.blocks == block, inside)
    assert set(found) == brute_force(graph, 1, np.ones(len(graph.ids), bool))


def test_many_pairs():
    """More than the first room for them: all pairs of a chain of 200 that are at most 20 apart."""
    chain, ones = np.arange(200), np.ones(200, np.uint64)
    a, b = neighbourhood_pairs(chain[:-1], chain[1:], ones > 0, ones, np.zeros(200, np.uint64), 20)
    assert list(zip(a, b, strict=True)) == [(x, y) for x in range(200) for y in range(x + 1, min(200, x + 21))]


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.integers(0, 40), st.integers(0, 4), max_size=6))
def test_numbers_of_supervoxels(counts):
    """Consecutive in the order of ids, whatever the blocks, and back again."""
    blocks = sorted(counts)
    last = np.array([(block << 32) + counts[block] for block in blocks], np.uint64)
    ids = np.array([(block << 32) + local for block in blocks for local in range(1, counts[block] + 1)], np.uint64)
    numbers = Numbers(last)
    assert numbers.total == len(ids)
    assert numbers.of(ids).tolist() == list(range(len(ids)))
    assert np.array_equal(numbers.ids(np.arange(len(ids))), ids)
    others = np.array([(block << 32) + 1 for block in range(42) if block not in counts], np.uint64)
    assert (numbers.of(others) == -1).all()


# Costs


def test_costs_of_labels():
    first, second = np.array([1, 1, 0, 2, 0], np.uint64), np.array([1, 2, 3, 0, 0], np.uint64)
    voxels = np.array([8, 27, 8, 8, 8], np.uint64)
    np.testing.assert_allclose(label_costs(first, second, voxels, 1.0, 2.0, -3.0), [8, -27, 0, 0, 0])
    np.testing.assert_allclose(label_costs(first, second, voxels, 0.0, 2.0, -3.0), [2, -3, 0, 0, 0])
    np.testing.assert_allclose(label_costs(first, second, voxels, 0.5, 1.0, -1.0), [2, -3, 0, 0, 0])


def test_a_label_needs_its_share():
    label, size = np.array([5, 5, 0], np.uint64), np.array([100, 100, 100], np.uint64)
    assert assign(label, np.array([20, 19, 0], np.uint64), size, 0.2).tolist() == [5, 0, 0]


def test_an_affinity_costs_what_a_contact_of_its_area_costs():
    """A flat wall of 10 × 10 faces across y: an offset of 3 along y crosses it 300 times, others never."""
    labels = np.ones((10, 20, 10), np.uint64)
    labels[:, 10:] = 2
    offsets = [(-3, 0, 0), (0, 3, 0), (0, 0, -3)]
    found = long_range(labels, itertools.repeat(np.full(labels.shape, 200, np.uint8), 3), offsets, whole(labels))
    assert found.count.tolist() == [300]
    cost = affinity_costs(found, offsets, 0.4, 1.0)
    np.testing.assert_allclose(cost, log_odds_costs(np.array([200 / 255]), 0.4, np.array([100.0]), 1.0))


def test_affinities_that_repel():
    ids = np.array([1, 2, 3], np.uint64)
    pairs = LongRange(ids, ids + np.uint64(5), np.array([2.0, 1.0, 1.0]), np.array([510.0, 0.0, 51.0]))
    edges = repulsive_edges(pairs, 0.5)
    assert edges.u.tolist() == [1]
    assert edges.value.tolist() == [-0.5]
    assert edges.count.tolist() == [1]
    assert len(repulsive_edges(pairs, 0.9)) == 2


def test_costs_of_a_pair_add_up():
    u, v = np.array([2, 1, 2, 4], np.uint64), np.array([3, 3, 3, 5], np.uint64)
    edges = sum_costs(u, v, np.array([1.0, -2.0, 3.0, 0.0]))
    assert edges.u.tolist() == [1, 2]
    assert edges.v.tolist() == [3, 3]
    assert edges.value.tolist() == [-2, 4]
    assert edges.count.tolist() == [0, 0]
    assert len(sum_costs(u[:0], v[:0], np.zeros(0))) == 0


# Evidence


def whole(labels: np.ndarray) -> tuple[slice, slice, slice]:
    z, y, x = (slice(0, n) for n in labels.shape)
    return z, y, x


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([np.uint8, np.int16, np.uint64]))
def test_the_most_frequent_label(seed, dtype):
    generator = np.random.default_rng(seed)
    supervoxels = generator.integers(0, 6, (3, 4, 5)).astype(np.uint64) * np.uint64(1 << 40)
    labels = generator.integers(0, 4, (3, 4, 5)).astype(dtype)
    ids = np.unique(supervoxels[supervoxels > 0])
    found = most_frequent(supervoxels, labels, ids)
    for row, supervoxel in enumerate(ids):
        counts = np.bincount(labels[supervoxels == supervoxel].astype(np.int64), minlength=4)
        best = int(counts[1:].argmax()) + 1
        assert found.voxels[row] == counts[best]
        assert found.label[row] == (best if counts[best] else 0)
        assert found.total[row] == ((labels == best).sum() if counts[best] else 0)


def test_a_negative_label():
    with pytest.raises(ValueError, match="negative"):
        most_frequent(np.ones((1, 1, 2), np.uint64), np.array([[[-1, 1]]]), np.ones(1, np.uint64))


def test_affinities_become_boundaries():
    bytes_, fractions = np.array([0, 51, 255], np.uint8), np.array([0, 0.2, 1], np.float32)
    assert boundary_from_affinity(bytes_, invert=False).tolist() == [255, 204, 0]
    assert boundary_from_affinity(bytes_, invert=True).tolist() == [0, 51, 255]
    assert boundary_from_affinity(fractions, invert=False).tolist() == [255, 204, 0]
    assert boundary_from_affinity(fractions, invert=True).tolist() == [0, 51, 255]


@pytest.mark.parametrize("value", [-0.1, 1.1, 255.0, np.nan, np.inf])
def test_an_affinity_outside_0_to_1(value):
    with pytest.raises(ValueError, match="not in 0 … 1"):
        boundary_from_affinity(np.array([0.5, value]), invert=False)


@dataclass(frozen=True)
class Affine:
    """Labels with affinities, cut into blocks no smaller than the offsets."""

    labels: np.ndarray
    channels: np.ndarray
    offsets: list[tuple[int, int, int]]
    grid: Grid


@st.composite
def affine(draw: st.DrawFn) -> Affine:
    """Any shapes, blocks of one voxel and single planes among them; offsets of any sign, up to a block long."""
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    block_shape = tuple(draw(st.integers(1, n)) for n in shape)
    offset = st.tuples(*[st.integers(-edge, edge) for edge in block_shape]).filter(any)
    offsets = draw(st.lists(offset, min_size=1, max_size=4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    grid = Grid(shape, block_shape)
    labels = generator.integers(0, 4, shape).astype(np.uint64)
    for block in range(grid.number_of_blocks):
        own = labels[grid.box(block).slices]
        own[own > 0] += np.uint64(block << 32)
    return Affine(labels, generator.integers(0, 256, (len(offsets), *shape)).astype(np.uint8), offsets, grid)


def linked(case: Affine) -> dict[tuple[int, int], tuple[int, int]]:
    """Count and sum of each pair, voxel by voxel."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for channel, offset in enumerate(case.offsets):
        for place in np.ndindex(*case.labels.shape):
            other = tuple(a + o for a, o in zip(place, offset, strict=True))
            if any(not 0 <= a < n for a, n in zip(other, case.labels.shape, strict=True)):
                continue
            u, v = sorted((int(case.labels[place]), int(case.labels[other])))
            if u != 0 and u != v:
                count, total = found.get((u, v), (0, 0))
                found[u, v] = count + 1, total + int(case.channels[(channel, *place)])
    return found


@settings(max_examples=100, deadline=None)
@given(affine())
def test_blocks_count_the_affinities_of_the_whole(case):
    parts = []
    for block in range(case.grid.number_of_blocks):
        box = case.grid.box(block)
        before = tuple(max(0, max(-o[axis] for o in case.offsets)) for axis in range(3))
        after = tuple(max(0, max(o[axis] for o in case.offsets)) for axis in range(3))
        outer = box.grow(before, after, case.grid.shape)
        channels = (channel[box.slices] for channel in case.channels)
        parts.append(long_range(case.labels[outer.slices], channels, case.offsets, box.inside(outer).slices))
        for u, v in zip(parts[-1].u, parts[-1].v, strict=True):
            ends = [int(u) >> 32, int(v) >> 32]
            assert block in ends
            assert ends[1] in around(case.grid, ends[0])
    added = add_up(parts)
    rows = zip(added.u.tolist(), added.v.tolist(), added.count.tolist(), added.boundary_sum.tolist(), strict=True)
    assert {(u, v): (count, total) for u, v, count, total in rows} == linked(case)
    again = add_up(parts[::-1])
    assert all(np.array_equal(x, y) for x, y in zip(added.columns().values(), again.columns().values(), strict=True))
