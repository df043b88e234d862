"""Voxel sizes relative to each other."""

from __future__ import annotations

from collections.abc import Sequence


def relative_sampling(
    voxel_size_um: tuple[float, float, float] | None, shape: Sequence[int]
) -> tuple[float, float, float]:
    """Voxel size (z, y, x) relative to the finest axis; an axis of one voxel does not count and is 1.

    Args:
        voxel_size_um: voxel size (z, y, x); where it is not known, voxels are cubes.
        shape: shape (z, y, x) of the volume.
    """
    if voxel_size_um is None:
        return (1.0, 1.0, 1.0)
    finest = min((s for s, n in zip(voxel_size_um, shape, strict=True) if n > 1), default=1.0)
    z, y, x = (s / finest if n > 1 else 1.0 for s, n in zip(voxel_size_um, shape, strict=True))
    return (z, y, x)
