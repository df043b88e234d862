"""Edges of supervoxels, block by block and merged, against the graph of the whole volume."""

from __future__ import annotations

import bioimage_cpp as bic
import numpy as np
import pytest
from elf.segmentation.features import compute_boundary_mean_and_length, compute_rag
from graph_checks import all_edges, grids, split_by_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.kernels.region_graph import EdgeTable, block_edges
from bigseg.kernels.synthetic.tissue import Tissue

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
    merged = all_edges(parts)
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
    found = all_edges(edges_of_blocks(labels, image, grid))
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


def test_no_edges():
    labels, boundary = np.ones((3, 4, 5), np.uint64), np.zeros((3, 4, 5), np.uint8)
    assert len(block_edges(labels, boundary, boundary, (3, 4, 5))) == 0
