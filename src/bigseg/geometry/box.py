"""Axis-aligned boxes of voxels in (z, y, x)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Triple = tuple[int, int, int]
"""(z, y, x)."""
Slices = tuple[slice, slice, slice]
"""An index into a (z, y, x) array."""


def triple(values: Sequence[int]) -> Triple:
    """Three integers (z, y, x), e.g. from JSON."""
    z, y, x = values
    return (int(z), int(y), int(x))


@dataclass(frozen=True)
class Box:
    """The voxels ``begin <= (z, y, x) < end``."""

    begin: Triple
    end: Triple

    @property
    def shape(self) -> Triple:
        """Extent in voxels along (z, y, x)."""
        (az, ay, ax), (bz, by, bx) = self.begin, self.end
        return (bz - az, by - ay, bx - ax)

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> Slices:
        """The box as an index into a (z, y, x) array."""
        (az, ay, ax), (bz, by, bx) = self.begin, self.end
        return (slice(az, bz), slice(ay, by), slice(ax, bx))

    def grow(self, before: Triple, after: Triple, within: Triple) -> Box:
        """The box with a halo of real voxels, cut at the true edge of a volume of shape ``within``."""
        z, y, x = (
            (max(0, a - lo), min(n, b + hi))
            for a, b, lo, hi, n in zip(self.begin, self.end, before, after, within, strict=True)
        )
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def inside(self, outer: Box) -> Box:
        """The same voxels in the coordinates of ``outer``, which must contain the box."""
        z, y, x = ((a - o, b - o) for a, b, o in zip(self.begin, self.end, outer.begin, strict=True))
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def __str__(self) -> str:
        """As an index: ``[0:64, 0:128, 64:128]``."""
        return "[" + ", ".join(f"{a}:{b}" for a, b in zip(self.begin, self.end, strict=True)) + "]"
