"""Which voxels are foreground: a threshold for a whole time point, and one that follows the surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from bigseg.geometry.box import Slices

LEVELS = 256
"""A foreground map is uint8; a level of 256 leaves no foreground."""


def level_of(probability: float) -> int:
    """The lowest value of a uint8 map that stands for at least a probability."""
    return ceil(probability * (LEVELS - 1))


def count_levels(values: np.ndarray) -> np.ndarray:
    """How often each value of a uint8 array occurs, (256,) uint64."""
    return np.bincount(values.reshape(-1), minlength=LEVELS).astype(np.uint64)


def otsu_level(counts: np.ndarray) -> int:
    """The lowest foreground value by Otsu's threshold (Otsu 1979) on the square roots of the values.

    The threshold that parts the values into the two classes with the most variance between them. Square roots, because
    the noise of counted photons grows with the square root of the signal and because a few bright nuclei would
    otherwise draw the threshold above the dim ones.

    Args:
        counts: (256,) how often each value occurs.

    Returns:
        1 … 255, or 256 where there is but one value: nothing stands out, all is background.
    """
    roots = np.sqrt(np.arange(LEVELS, dtype=np.float64))
    weights = counts.astype(np.float64)
    below, total = np.cumsum(weights)[:-1], weights.sum()
    above = total - below
    possible = (below > 0) & (above > 0)
    if not possible.any():
        return LEVELS
    sums = np.cumsum(weights * roots)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return int(np.argmax(np.where(possible, between, -1.0))) + 1


def is_foreground(values: np.ndarray, level: int, window: Sequence[int], inner: Slices) -> np.ndarray:
    """Whether each voxel of a box is foreground: bright enough, and brighter than the mean of its surroundings.

    Args:
        values: (z, y, x) uint8 foreground map of the box and of ``window`` voxels around it, as far as the volume goes.
        level: lowest value of the foreground.
        window: the surroundings reach this many voxels (z, y, x) to each side, at most 127; beyond the volume they
            end. All 0: only ``level`` counts.
        inner: the box in the coordinates of ``values``.

    Returns:
        (z, y, x) bool of the box. It is computed in integers, so that it depends on no other voxel of ``values``.
    """
    own = values[inner]
    found = own >= level
    if not any(window) or not found.any():
        return np.asarray(found)
    sums, counts = values, np.ones((1, 1, 1), np.int64)
    for axis, reach in enumerate(window):
        sums, along = _window_sums(sums, axis, reach, inner[axis])
        counts = counts * along.reshape([-1 if other == axis else 1 for other in range(3)])
    found &= own * counts > sums
    return np.asarray(found)


def _window_sums(values: np.ndarray, axis: int, reach: int, inner: slice) -> tuple[np.ndarray, np.ndarray]:
    """Sums over windows along an axis around the voxels of ``inner``, and how many voxels each window has.

    Running sums may wrap around in uint32; their differences, which are at most 255 · 255³, are right nevertheless.
    """
    length = values.shape[axis]
    place = np.arange(length)[inner]
    first, past = np.maximum(place - reach, 0), np.minimum(place + reach + 1, length)
    shape = list(values.shape)
    shape[axis] += 1
    running = np.zeros(shape, np.uint32)
    later = (slice(None),) * axis + (slice(1, None),)
    np.cumsum(values, axis=axis, dtype=np.uint32, out=running[later])
    return np.take(running, past, axis) - np.take(running, first, axis), past - first
