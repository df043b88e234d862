"""Smoothing and scaling of intensities, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from graph_checks import grids
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.geometry.halo import smoothing_halo
from bigseg.kernels.intensity import boundary_map, smooth

SIGMAS = st.tuples(*[st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.3, 2.6])] * 3)


def image_of(shape, seed):
    return np.random.default_rng(seed).integers(0, 2**16, shape).astype(np.uint16)


def blockwise(image, grid, halo, run):
    """Run on each block with its halo, keep its inner box."""
    result = None
    for index in range(grid.number_of_blocks):
        box = grid.box(index)
        outer = box.grow(halo, halo, grid.shape)
        inner = run(image[outer.slices])[box.inside(outer).slices]
        result = np.empty(grid.shape, inner.dtype) if result is None else result
        result[box.slices] = inner
    return result


@given(st.tuples(*[st.integers(1, 9)] * 3), SIGMAS, st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_smoothing_is_scipys_with_mirrored_edges(shape, sigma, seed):
    image = image_of(shape, seed)
    used = [0 if n == 1 else s for s, n in zip(sigma, shape, strict=True)]
    expected = scipy.ndimage.gaussian_filter(image.astype(np.float64), used, mode="mirror", truncate=4.0)
    found = smooth(image, sigma)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3)  # windows may end a voxel apart


@given(grids(longest=16), SIGMAS, st.integers(0, 2**32), st.booleans())
@settings(max_examples=100, deadline=None)
def test_blocks_with_their_halo_give_the_whole(grid, sigma, seed, invert):
    """Smoothing to the rounding of float32 (order of summation), so the boundary map to one grey level."""
    image = image_of(grid.shape, seed)
    halo = smoothing_halo(sigma)
    whole = smooth(image, sigma)
    parts = blockwise(image, grid, halo, lambda values: smooth(values, sigma))
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    maps = [boundary_map(values, 1000.0, 60000.0, invert=invert).astype(int) for values in (parts, whole)]
    assert abs(maps[0] - maps[1]).max() <= 1


def test_no_smoothing_leaves_the_image_and_needs_no_halo():
    image = image_of((4, 5, 6), 0)
    np.testing.assert_array_equal(smooth(image, (0.0, 0.0, 0.0)), image)
    assert smoothing_halo((0.0, 0.0, 0.0)) == (0, 0, 0)


def test_an_axis_without_smoothing_is_left_alone():
    image = image_of((4, 9, 9), 0)
    planes = np.stack([smooth(plane[None], (0.0, 1.0, 1.0))[0] for plane in image])
    np.testing.assert_allclose(smooth(image, (0.0, 1.0, 1.0)), planes, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("invert", [False, True])
def test_boundary_map_scales_and_clips(dtype, invert):
    image = np.array([0, 10, 60, 110, 127], dtype).reshape(1, 1, 5)
    expected = np.array([0, 0, 128, 255, 255]) if not invert else np.array([255, 255, 128, 0, 0])
    found = boundary_map(image, 10.0, 110.0, invert=invert)
    assert found.dtype == np.uint8
    assert abs(found.ravel().astype(int) - expected).max() <= 1
    assert found.ravel()[[0, 1, 3, 4]].tolist() == expected[[0, 1, 3, 4]].tolist()


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e4), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_boundary_map_is_monotonic(low, width, invert, seed):
    image = np.sort(np.random.default_rng(seed).normal(low, width, 50)).astype(np.float32).reshape(1, 1, -1)
    steps = np.diff(boundary_map(image, low, low + width, invert=invert).ravel().astype(int))
    assert (steps <= 0).all() if invert else (steps >= 0).all()
