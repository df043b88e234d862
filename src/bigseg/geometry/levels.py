"""The levels of the pyramid of a volume."""

from __future__ import annotations

from dataclasses import dataclass

from bigseg.geometry.box import Triple

_HALVE_BELOW = 1.5
"""An axis is halved while its spacing is below this many times the finest one, so that voxels become cubes."""


@dataclass(frozen=True)
class Level:
    """One level.

    Attributes:
        shape: (z, y, x).
        factor: by what the level before was divided, 1 or 2 per axis.
        scale: by what full resolution was divided.
    """

    shape: Triple
    factor: Triple
    scale: Triple


def pyramid_levels(volume: Triple, voxel_size_um: tuple[float, float, float], smallest: int) -> list[Level]:
    """Levels from full resolution to the first whose longest axis has at most ``smallest`` voxels."""
    levels = [Level(volume, (1, 1, 1), (1, 1, 1))]
    while max(levels[-1].shape) > smallest:
        last = levels[-1]
        spacing = [s * k for s, k in zip(voxel_size_um, last.scale, strict=True)]
        finest = min(s for s, n in zip(spacing, last.shape, strict=True) if n > 1)
        z, y, x = (2 if n > 1 and s < _HALVE_BELOW * finest else 1 for s, n in zip(spacing, last.shape, strict=True))
        factor: Triple = (z, y, x)
        nz, ny, nx = (-(-n // f) for n, f in zip(last.shape, factor, strict=True))
        sz, sy, sx = (k * f for k, f in zip(last.scale, factor, strict=True))
        levels.append(Level((nz, ny, nx), factor, (sz, sy, sx)))
    return levels
