"""Coarser levels of labels and images, against loops over cells."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from graph_checks import grids
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from bigseg.geometry.grid import Grid
from bigseg.kernels.downsample import coarser_shape, mean_pool, mode_pool

SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
TALL = st.tuples(st.integers(15, 34), st.integers(1, 3), st.integers(1, 3))
"""More planes than are voted on together."""
FACTORS = st.tuples(*[st.integers(1, 2)] * 3)
LABELS = st.sampled_from([0, 1, 2, 5 << 32, 2**64 - 1])


def cells(array, factor):
    """(position, voxels) of every cell; a block of the grid of cells is a cell."""
    grid = Grid(array.shape, factor)
    assert grid.blocks_per_axis == coarser_shape(array.shape, factor)
    return [(grid.coordinate(i), array[grid.box(i).slices]) for i in range(grid.number_of_blocks)]


@given(npst.arrays(np.uint64, SHAPES | TALL, elements=LABELS), FACTORS)
@settings(max_examples=150, deadline=None)
def test_mode_is_the_most_frequent_label_and_of_equals_the_smallest(labels, factor):
    pooled = mode_pool(labels, factor)
    assert pooled.dtype == labels.dtype
    assert pooled.shape == coarser_shape(labels.shape, factor)
    for position, cell in cells(labels, factor):
        votes = Counter(cell.ravel().tolist())
        assert int(pooled[position]) == min(votes, key=lambda label: (-votes[label], label))
    assert set(np.unique(pooled)) <= set(np.unique(labels))


def test_mode_does_not_share_memory_with_its_input():
    labels = np.ones((2, 2, 2), np.uint64)
    assert not np.shares_memory(mode_pool(labels, (1, 1, 1)), labels)


def test_mode_refuses_factors_whose_cut_cells_it_would_miscount():
    with pytest.raises(ValueError, match="factor"):
        mode_pool(np.ones((4, 4, 4), np.uint64), (1, 3, 1))


@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "float16", "float32", "float64"]),
    SHAPES,
    st.tuples(*[st.integers(1, 3)] * 3),
    st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_mean_is_numpys(dtype, shape, factor, seed):
    generator = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        image = generator.normal(size=shape).astype(kind)
    else:
        image = generator.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)
    pooled = mean_pool(image, factor)
    assert pooled.dtype == kind
    assert pooled.shape == coarser_shape(shape, factor)
    for position, cell in cells(image, factor):
        mean = cell.astype(np.float64).mean()
        if kind.kind == "f":
            assert float(pooled[position]) == pytest.approx(mean, abs=8 * float(np.finfo(kind).eps))
        else:  # exactly between two integers, either is right where thirds are summed
            assert abs(int(pooled[position]) - mean) <= 0.5 + 1e-4 * (3 in factor)


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_mean_of_halved_16_bit_images_is_exact(seed):
    image = np.random.default_rng(seed).integers(0, 2**16, (5, 6, 7)).astype(np.uint16)
    pooled = mean_pool(image, (2, 2, 2))
    for position, cell in cells(image, (2, 2, 2)):
        assert pooled[position] == np.rint(cell.mean())


@given(grids(), FACTORS, st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_levels_do_not_depend_on_the_blocks(coarse, factor, seed):
    """Blocks of the coarse level, each from the voxels that it covers."""
    generator = np.random.default_rng(seed)
    shape = tuple(int(n * f - generator.integers(0, f)) for n, f in zip(coarse.shape, factor, strict=True))
    fine = generator.integers(0, 4, shape).astype(np.uint16)
    for pool in (mode_pool, mean_pool):
        whole = pool(fine, factor)
        assert whole.shape == coarse.shape
        for index in range(coarse.number_of_blocks):
            box = coarse.box(index)
            covered = tuple(slice(a * f, b * f) for a, b, f in zip(box.begin, box.end, factor, strict=True))
            np.testing.assert_array_equal(pool(fine[covered], factor), whole[box.slices])
