"""Edges of supervoxels, block by block and merged, against the graph of the whole volume."""

from __future__ import annotations

import bioimage_cpp as bic
import numpy as np
import pytest
from elf.segmentation.features import compute_boundary_mean_and_length, compute_rag
from graph_checks import edge_table, grids, random_graph, split_by_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.kernels.region_graph import EdgeTable, block_edges, contract, empty_edges, merge_edges
from bigseg.kernels.tissue import Tissue

COMPLEX = bic.graph.features.COMPLEX_EDGE_FEATURE_NAMES


def edges_of_blocks(labels, boundary, grid):
    """The table of each block; supervoxels do not go on beyond faces."""
    parts = []
    for index in range(grid.number_of_blocks):
        box = grid.box(index)
        outer = box.grow((0, 0, 0), (1, 1, 1), grid.shape).slices
        parts.append(block_edges(labels[outer], boundary[outer], np.zeros_like(boundary[outer]), box.shape))
    return parts


def assert_edges_equal(found, expected):
    for name, column in expected.columns().items():
        assert getattr(found, name).dtype == column.dtype
        np.testing.assert_allclose(getattr(found, name), column, rtol=1e-9, atol=1e-9, err_msg=name)


def in_core(labels, boundary):
    """The edges by bioimage_cpp's in-core functions, which want dense labels; edges to 0 are left out."""
    names, dense = np.unique(np.r_[np.uint64(0), labels.ravel()], return_inverse=True)
    dense = dense[1:].reshape(labels.shape).astype(np.uint64)
    graph = bic.graph.region_adjacency_graph(dense)
    features = bic.graph.features.edge_map_features_complex(graph, dense, boundary.astype(np.float64) / 255)
    uv = graph.uv_ids()
    real = uv[:, 0] != 0
    feature = dict(zip(COMPLEX, features[real].T.astype(np.float64), strict=True))
    return EdgeTable(
        names[uv[real, 0]],
        names[uv[real, 1]],
        feature["size"],
        feature["mean"],
        feature["std"] ** 2 * feature["size"],
        feature["min"],
        feature["max"],
        255 * feature["mean"] * feature["size"],
    )


@given(grids(), st.integers(0, 5), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_edges_of_blocks_merged_are_those_of_the_whole_volume(grid, number, seed):
    generator = np.random.default_rng(seed)
    labels = split_by_blocks(generator.integers(0, number + 1, grid.shape), grid)
    boundary = generator.integers(0, 256, grid.shape).astype(np.uint8)
    parts = edges_of_blocks(labels, boundary, grid)
    merged = merge_edges(parts)
    assert len(merged) == sum(len(part) for part in parts)  # so every pair has one owner
    assert_edges_equal(merged, in_core(labels, boundary))
    for part in parts:
        assert sorted(zip(part.u.tolist(), part.v.tolist(), strict=True)) == list(
            zip(part.u.tolist(), part.v.tolist(), strict=True)
        )


@pytest.mark.parametrize("block", [(17, 30, 13), (32, 32, 32), (7, 64, 64)])
def test_edges_of_a_tissue_are_those_of_elf(block):
    tissue = Tissue((30, 61, 64), voxel_size_um=(1.0, 0.5, 0.5))
    image, cells = tissue.render(Box((0, 0, 0), tissue.shape))
    grid = Grid(tissue.shape, block)
    labels = split_by_blocks(cells, grid)
    found = merge_edges(edges_of_blocks(labels, image, grid))
    names, dense = np.unique(labels, return_inverse=True)
    assert names[0] == 0
    assert len(names) > 100
    dense = dense.reshape(labels.shape).astype(np.uint64)
    graph = compute_rag(dense)
    mean, length = compute_boundary_mean_and_length(graph, dense, image.astype(np.float32)).T
    uv = graph.uv_ids()
    real = uv[:, 0] != 0
    np.testing.assert_array_equal(np.stack([found.u, found.v], axis=1), names[uv[real]])
    np.testing.assert_array_equal(found.count, length[real])
    np.testing.assert_allclose(255 * found.mean, mean[real], rtol=1e-6)
    assert_edges_equal(found, in_core(labels, image))


@st.composite
def overlapping_parts(draw):
    """Tables that share pairs, with their contacts: (pair, value in half grey levels, inside)."""
    contact = st.tuples(st.integers(1, 4), st.integers(5, 8), st.integers(0, 510), st.booleans())
    parts = draw(st.lists(st.lists(contact, max_size=12), min_size=1, max_size=4))
    return [table_of_contacts(part) for part in parts], table_of_contacts([c for part in parts for c in part])


def table_of_contacts(contacts):
    rows = []
    for pair in sorted({contact[:2] for contact in contacts}):
        value = np.array([c[2] for c in contacts if c[:2] == pair]) / 510
        outside = sum(c[2] for c in contacts if c[:2] == pair and not c[3]) / 2
        mean = value.mean()
        rows.append((*pair, len(value), mean, ((value - mean) ** 2).sum(), value.min(), value.max(), outside))
    u, v, *columns = np.array(rows, np.float64).reshape(-1, 8).T
    return EdgeTable(u.astype(np.uint64), v.astype(np.uint64), *columns)


@given(overlapping_parts(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_merged_statistics_are_those_of_all_contacts_whatever_the_order(case, random):
    parts, expected = case
    random.shuffle(parts)
    assert_edges_equal(merge_edges(parts), expected)
    assert_edges_equal(merge_edges([merge_edges(parts[:1]), merge_edges(parts[1:])]), expected)


@given(overlapping_parts(), st.data())
@settings(max_examples=100, deadline=None)
def test_contraction_keeps_all_contacts_between_clusters(case, data):
    """Also the probability, which stage by stage must remain what one contraction gives."""
    edges = case[1]
    ids = np.arange(1, 9, dtype=np.uint64)
    to = np.array([data.draw(st.integers(1, int(i))) for i in ids], np.uint64)
    found = contract(edges, to, ids)
    pairs = [
        tuple(sorted((int(to[u - 1]), int(to[v - 1])))) for u, v in zip(edges.u.tolist(), edges.v.tolist(), strict=True)
    ]
    kept = sorted({(a, b) for a, b in pairs if a != b})
    assert list(zip(found.u.tolist(), found.v.tolist(), strict=True)) == kept
    for row, pair in enumerate(kept):
        members = np.array([p == pair for p in pairs])
        count = edges.count[members]
        mean = np.average(edges.mean[members], weights=count)
        square = (edges.m2[members] + count * edges.mean[members] ** 2).sum()
        assert found.count[row] == count.sum()
        assert found.mean[row] == pytest.approx(mean, abs=1e-9)
        assert found.m2[row] == pytest.approx(square - count.sum() * mean**2, abs=1e-9)
        assert found.minimum[row] == edges.minimum[members].min()
        assert found.maximum[row] == edges.maximum[members].max()
        assert found.probability[row] == pytest.approx(np.average(edges.probability[members], weights=count), abs=1e-12)


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_contraction_in_two_steps_is_contraction_in_one(seed):
    generator = np.random.default_rng(seed)
    ids = np.sort(generator.choice(2**62, 12, replace=False)).astype(np.uint64)
    pairs = ids[random_graph(generator, len(ids), 0.5).astype(np.int64)]
    edges = edge_table(pairs, generator.integers(0, 256, len(pairs)) / 255, generator.integers(1, 9, len(pairs)))
    first = ids[[generator.integers(0, i + 1) for i in range(len(ids))]]
    names = np.unique(first)
    second = names[[generator.integers(0, i + 1) for i in range(len(names))]]
    both = second[np.searchsorted(names, first)]
    assert_edges_equal(contract(contract(edges, first, ids), second, names), contract(edges, both, ids))


def test_no_edges():
    labels, boundary = np.ones((3, 4, 5), np.uint64), np.zeros((3, 4, 5), np.uint8)
    assert len(block_edges(labels, boundary, boundary, (3, 4, 5))) == 0
    assert_edges_equal(merge_edges([]), empty_edges())
    ids = np.arange(3, dtype=np.uint64)
    assert_edges_equal(contract(empty_edges(), ids, ids), empty_edges())
