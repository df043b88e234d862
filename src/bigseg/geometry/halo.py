"""How far beyond its block a kernel looks, in voxels; plain arithmetic, because planning asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from bigseg.geometry.box import Triple, triple

GAUSSIAN_WINDOW = 4.0
"""Gaussian windows end at this many standard deviations."""

WATERSHED_HALO = 32
"""Default halo of the watershed along the finest axis."""


def smoothing_halo(sigma: Sequence[float]) -> Triple:
    """Voxels (z, y, x) that a Gaussian with a standard deviation of ``sigma`` voxels per axis looks at."""
    return triple([ceil(GAUSSIAN_WINDOW * s) + 1 if s > 0 else 0 for s in sigma])


def watershed_halo(sampling: Sequence[float]) -> Triple:
    """Default halo (z, y, x) of the watershed: the same physical length along all axes.

    Args:
        sampling: voxel size (z, y, x) relative to the finest axis.
    """
    return triple([ceil(WATERSHED_HALO / s) for s in sampling])
