"""From image intensities to a boundary map."""

from __future__ import annotations

import bioimage_cpp as bic
import numpy as np

from bigseg.geometry.halo import GAUSSIAN_WINDOW

_NO_SMOOTHING = 1e-3
"""A standard deviation so small that the neighbours' weights are 0; the library wants it to be positive."""


def smooth(image: np.ndarray, sigma: tuple[float, float, float]) -> np.ndarray:
    """Gaussian smoothing of a (z, y, x) image with a standard deviation in voxels per axis; float32.

    The image is mirrored at its edges. An axis of one voxel, or with a standard deviation of 0, is left alone.
    """
    values = np.ascontiguousarray(image, np.float32)
    used = [axis for axis in range(3) if values.shape[axis] > 1 and sigma[axis] > 0]
    if not used:
        return values
    thin = [axis for axis in range(3) if values.shape[axis] == 1]
    squeezed = values.squeeze(axis=tuple(thin)) if len(thin) == 1 else values
    per_axis = [max(sigma[axis], _NO_SMOOTHING) for axis in range(3) if not (len(thin) == 1 and axis in thin)]
    return np.asarray(
        bic.filters.gaussian_smoothing(squeezed, per_axis, window_size=GAUSSIAN_WINDOW), np.float32
    ).reshape(values.shape)


def scale(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Intensities as float32 in [0, 1]: ``low`` and less is 0, ``high``, which must differ from it, and more is 1."""
    scaled = image.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)


def boundary_map(image: np.ndarray, low: float, high: float, *, invert: bool) -> np.ndarray:
    """Scale intensities so that ``low`` becomes 0 and ``high`` 255, clipped; inverted where boundaries are dark.

    Args:
        image: (z, y, x), any real type.
        low: intensity that becomes 0.
        high: intensity that becomes 255; must differ from ``low``.
        invert: whether dark is boundary.

    Returns:
        (z, y, x) uint8; 255 stands for boundary probability 1.
    """
    scaled = (image.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    np.clip(scaled, 0, 255, out=scaled)
    if invert:
        np.subtract(255, scaled, out=scaled)
    return np.asarray(np.rint(scaled).astype(np.uint8))
