"""Drift by phase correlation, against shifts that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bigseg.kernels.drift import estimate_drift


def scene(shape, seed=0):
    """Blobs of different sizes on a large canvas."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros(shape, np.float32)
    points = rng.integers(0, shape, (max(20, int(np.prod(shape) / 300)), 3))
    canvas[tuple(points.T)] = rng.uniform(50, 400, len(points))
    return ndimage.gaussian_filter(canvas, [1.5 * (n > 1) for n in shape]) * 40


@pytest.mark.parametrize("shift", [(0, 0, 0), (2, -5, 7), (-3, 0, 4), (0, 9, -9)])
def test_a_window_that_moves_over_a_scene(shift):
    whole, margin, rng = scene((40, 90, 90)), 10, np.random.default_rng(1)
    views = []
    for moved in ((0, 0, 0), shift):
        begin = [margin - m for m in moved]
        view = whole[tuple(slice(b, b + n - 2 * margin) for b, n in zip(begin, whole.shape, strict=True))]
        views.append(view + rng.normal(0, 3, view.shape))
    found = estimate_drift(*views, (10, 12, 12))
    assert np.abs(found - shift).max() < 0.5


def test_part_of_a_voxel():
    whole = scene((1, 120, 120))
    moved = ndimage.shift(whole, (0, 1.4, -2.6), order=3, mode="nearest")
    found = estimate_drift(whole[:, 10:-10, 10:-10], moved[:, 10:-10, 10:-10], (0, 8, 8))
    assert np.abs(found - (0, 1.4, -2.6)).max() < 0.3


def test_no_further_than_allowed_and_not_along_axes_that_do_not_move():
    whole = scene((1, 120, 120))
    moved = np.roll(whole, (0, 12, 3), (0, 1, 2))
    found = estimate_drift(whole, moved, (0, 4, 4))
    assert found[0] == 0
    assert np.abs(found).max() <= 4


@pytest.mark.parametrize("value", [0, 17])
def test_images_without_content_do_not_move(value):
    flat = np.full((8, 20, 20), value, np.uint16)
    assert (estimate_drift(flat, flat, (3, 3, 3)) == 0).all()
    assert (estimate_drift(flat, scene(flat.shape), (3, 3, 3)) == 0).all()
