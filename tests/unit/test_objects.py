"""Measurements of objects, against scikit-image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from graph_checks import grids
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from bigseg.geometry.box import Box
from bigseg.kernels.objects import measure_block, merge_measurements, object_table
from bigseg.kernels.synthetic.tissue import Tissue

VOXEL_SIZE = (2.0, 0.5, 0.25)


def measure_blocks(labels, image, grid):
    """The measurements of each block."""
    boxes = [grid.box(index) for index in range(grid.number_of_blocks)]
    return [measure_block(labels[box.slices], image[box.slices], box.begin) for box in boxes]


@given(grids(), st.integers(0, 5), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_blocks_merged_are_the_whole(grid, number, seed):
    generator = np.random.default_rng(seed)
    names = np.r_[0, generator.choice(2**63, number)].astype(np.uint64)
    labels = names[generator.integers(0, number + 1, grid.shape)]
    labels[: grid.block_shape[0]] = 0  # empty blocks
    image = generator.integers(0, 2**16, grid.shape).astype(np.uint16)
    whole = measure_block(labels, image, (0, 0, 0))
    merged = merge_measurements(measure_blocks(labels, image, grid))
    pd.testing.assert_frame_equal(merged, whole, check_dtype=False)
    assert merged["object"].dtype == whole["object"].dtype == np.uint64


def assert_is_regionprops(table, labels, image, voxel_size):
    props = regionprops(labels.astype(np.int64), intensity_image=image.astype(np.float64), spacing=voxel_size)
    assert table["object"].tolist() == [p.label for p in props]
    for row, p in zip(table.itertuples(), props, strict=True):
        assert row.voxels == p.num_pixels
        assert row.volume_um3 == pytest.approx(p.area)
        assert row.equivalent_diameter_um == pytest.approx(p.equivalent_diameter_area)
        centroid = np.array([row.centroid_z_um, row.centroid_y_um, row.centroid_x_um])
        np.testing.assert_allclose(centroid, np.array(p.centroid))
        assert row.mean_intensity == pytest.approx(p.intensity_mean)
        low, high = (row.min_z, row.min_y, row.min_x), (row.max_z, row.max_y, row.max_x)
        assert (*low, *(n + 1 for n in high)) == p.bbox
        sides = zip(low, high, labels.shape, strict=True)
        assert row.touches_edge == any(n > 1 and (a == 0 or b == n - 1) for a, b, n in sides)


@given(grids(), st.integers(1, 5), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_table_is_that_of_scikit_image(grid, number, seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, number + 1, grid.shape).astype(np.uint64)
    image = generator.normal(size=grid.shape).astype(np.float32)
    merged = merge_measurements(measure_blocks(labels, image, grid))
    table = object_table(merged, 3, grid.shape, VOXEL_SIZE)
    assert (table["time"] == 3).all()
    if min(grid.shape) > 1:  # regionprops drops nothing, but its volumes of flat images are areas
        assert_is_regionprops(table, labels, image, VOXEL_SIZE)


def test_table_of_a_tissue():
    tissue = Tissue((20, 40, 50), voxel_size_um=(1.0, 0.5, 0.5))
    image, labels = tissue.render(Box((0, 0, 0), tissue.shape))
    table = object_table(measure_block(labels.astype(np.uint64), image, (0, 0, 0)), 0, tissue.shape, (1.0, 0.5, 0.5))
    assert len(table) > 20
    assert_is_regionprops(table, labels, image, (1.0, 0.5, 0.5))
    assert table["touches_edge"].nunique() == 2


def test_a_volume_without_objects_gives_an_empty_table():
    nothing = measure_block(np.zeros((2, 3, 4), np.uint64), np.ones((2, 3, 4)), (0, 0, 0))
    table = object_table(merge_measurements([nothing, nothing]), 0, (2, 3, 4), VOXEL_SIZE)
    assert len(table) == 0
    assert table["object"].dtype == np.uint64
    assert table["touches_edge"].dtype == bool


def test_the_only_plane_of_an_image_is_no_edge():
    labels = np.zeros((1, 5, 5), np.uint64)
    labels[0, 2, 2] = 1
    table = object_table(measure_block(labels, labels, (0, 0, 0)), 0, (1, 5, 5), VOXEL_SIZE)
    assert table["touches_edge"].tolist() == [False]
