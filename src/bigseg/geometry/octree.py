"""The octree over the blocks of a grid: a superblock of level l joins 2 × 2 × 2 of level l - 1, the root the rest.

Level 0 has one superblock per block. The superblocks of each level are numbered in C order, like blocks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import prod

from bigseg.geometry.box import Triple

ONE_JOB = 1 << 27
"""Voxels (512³) up to which the whole graph is solved in one job: about 300,000 supervoxels and 2 million edges."""

_MOST_AT_ROOT = 8
"""Superblocks that the root joins at most, like any other superblock."""


@dataclass(frozen=True)
class Octree:
    """Superblocks over ``blocks_per_axis`` (z, y, x) blocks."""

    blocks_per_axis: Triple

    def per_axis(self, level: int) -> Triple:
        """Number of superblocks of a level along (z, y, x)."""
        z, y, x = (-(-n >> level) for n in self.blocks_per_axis)
        return (z, y, x)

    def number(self, level: int) -> int:
        """Number of superblocks of a level."""
        return prod(self.per_axis(level))

    def children(self, level: int, index: int) -> list[int]:
        """Superblocks of the level below that a superblock joins, ascending."""
        return self._inside(level - 1, [(2 * c, 2 * c + 1) for c in self._coordinate(level, index)])

    def neighbourhood(self, level: int, indices: list[int]) -> list[int]:
        """Superblocks of a level that share a face, edge or corner with one of a box of them, themselves included."""
        places = [self._coordinate(level, index) for index in indices]
        return self._inside(level, [(min(along) - 1, max(along) + 1) for along in zip(*places, strict=True)])

    def below(self, level: int, index: int) -> list[int]:
        """A superblock and those that share its lower faces: all that own edges of its supervoxels, ascending."""
        z, y, x = self._coordinate(level, index)
        places = [(z - 1, y, x), (z, y - 1, x), (z, y, x - 1), (z, y, x)]
        return [self._index(level, place) for place in places if min(place) >= 0]

    def ancestor(self, level: int, block: int) -> int:
        """The superblock of a level in which a block lies."""
        z, y, x = (c >> level for c in self._coordinate(0, block))
        return self._index(level, (z, y, x))

    def _coordinate(self, level: int, index: int) -> Triple:
        _, ny, nx = self.per_axis(level)
        return (index // (ny * nx), index // nx % ny, index % nx)

    def _index(self, level: int, place: Triple) -> int:
        _, ny, nx = self.per_axis(level)
        return (place[0] * ny + place[1]) * nx + place[2]

    def _inside(self, level: int, limits: list[tuple[int, int]]) -> list[int]:
        """Superblocks between limits (both included) along each axis, ascending; what lies outside is left out."""
        size = self.per_axis(level)
        ranges = [range(max(0, low), min(high + 1, n)) for (low, high), n in zip(limits, size, strict=True)]
        return [self._index(level, (z, y, x)) for z, y, x in itertools.product(*ranges)]


def levels_for(shape: Triple, blocks_per_axis: Triple) -> int:
    """Levels of superblocks below the root: none for a volume that one job solves.

    Args:
        shape: (z, y, x) of the volume in voxels.
        blocks_per_axis: number of blocks along (z, y, x).
    """
    if prod(shape) <= ONE_JOB:
        return 0
    tree = Octree(blocks_per_axis)
    return 1 + next(level for level in itertools.count() if tree.number(level) <= _MOST_AT_ROOT)
