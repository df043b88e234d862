"""The octree over the blocks of a grid: a superblock of level l joins 2 × 2 × 2 of level l - 1, the root the rest.

Level 0 has one superblock per block. The superblocks of each level are numbered in C order, like blocks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from math import prod

from bigseg.geometry.box import Box, Triple
from bigseg.geometry.grid import Grid

ONE_JOB = 1 << 27
"""Voxels (512³) up to which the whole graph is solved in one job: about 300,000 supervoxels and 2 million edges."""

_MOST_AT_ROOT = 8
"""Superblocks that the root joins at most, like any other superblock."""


@dataclass(frozen=True)
class Octree:
    """Superblocks over ``blocks_per_axis`` (z, y, x) blocks."""

    blocks_per_axis: Triple

    def grid(self, level: int) -> Grid:
        """The superblocks of a level as a grid whose voxels are superblocks."""
        return _grid(self.blocks_per_axis, level)

    def per_axis(self, level: int) -> Triple:
        """Number of superblocks of a level along (z, y, x)."""
        return self.grid(level).shape

    def number(self, level: int) -> int:
        """Number of superblocks of a level."""
        return self.grid(level).number_of_blocks

    def children(self, level: int, index: int) -> list[int]:
        """Superblocks of the level below that a superblock joins, ascending."""
        return self.children_within(level, self.grid(level).box(index))

    def children_within(self, level: int, box: Box, around: int = 0) -> list[int]:
        """Superblocks of the level below that the superblocks in a box join, and those up to ``around`` from them."""
        (az, ay, ax), (bz, by, bx) = box.begin, box.end
        below, reach = self.grid(level - 1), (around,) * 3
        return below.touching(Box((2 * az, 2 * ay, 2 * ax), (2 * bz, 2 * by, 2 * bx)).grow(reach, reach, below.shape))

    def neighbourhood(self, level: int, indices: list[int]) -> list[int]:
        """Superblocks of a level that share a face, edge or corner with one of a box of them, themselves included."""
        places = [self.grid(level).coordinate(index) for index in indices]
        z, y, x = ((min(along), max(along) + 1) for along in zip(*places, strict=True))
        return self.neighbourhood_within(level, Box((z[0], y[0], x[0]), (z[1], y[1], x[1])))

    def neighbourhood_within(self, level: int, box: Box) -> list[int]:
        """The superblocks in a box and those that share a face, edge or corner with one of them."""
        grid = self.grid(level)
        return grid.touching(box.grow((1, 1, 1), (1, 1, 1), grid.shape))

    def below(self, level: int, index: int) -> list[int]:
        """A superblock and those that share its lower faces: all that own edges of its supervoxels, ascending."""
        return self.below_within(level, self.grid(level).box(index))

    def below_within(self, level: int, box: Box) -> list[int]:
        """The superblocks in a box and those that share their lower faces."""
        grid, none = self.grid(level), (0, 0, 0)
        return grid.at([box.grow(before, none, grid.shape) for before in ((1, 0, 0), (0, 1, 0), (0, 0, 1))])

    def later_within(self, box: Box) -> list[int]:
        """Blocks in the neighbourhood of some block in a box that do not come before that block."""
        return self.grid(0).at([_grown(box, low, high) for low, high in _LATER])

    def earlier_within(self, box: Box) -> list[int]:
        """Blocks in the neighbourhood of some block in a box that do not come after that block."""
        return self.grid(0).at([_grown(box, _minus(high), _minus(low)) for low, high in _LATER])

    def ancestor(self, level: int, block: int) -> int:
        """The superblock of a level in which a block lies."""
        return self.ancestors(level, self.grid(0).box(block))[0]

    def ancestors(self, level: int, box: Box) -> list[int]:
        """The superblocks of a level in which the blocks in a box of blocks lie, ascending."""
        (az, ay, ax), (bz, by, bx) = box.begin, box.end
        end = (((bz - 1) >> level) + 1, ((by - 1) >> level) + 1, ((bx - 1) >> level) + 1)
        return self.grid(level).touching(Box((az >> level, ay >> level, ax >> level), end))


_LATER = (((0, 0, 0), (0, 0, 1)), ((0, 1, -1), (0, 1, 1)), ((1, -1, -1), (1, 1, 1)))
"""Steps (z, y, x), from and to, that lead from a block to those of its neighbourhood that do not come before it."""


@cache
def _grid(blocks_per_axis: Triple, level: int) -> Grid:
    z, y, x = (-(-n >> level) for n in blocks_per_axis)
    return Grid((z, y, x), (1, 1, 1))


def _grown(box: Box, low: Triple, high: Triple) -> Box:
    """Where steps from ``low`` to ``high`` lead from the places in a box."""
    (az, ay, ax), (bz, by, bx) = box.begin, box.end
    return Box((az + low[0], ay + low[1], ax + low[2]), (bz + high[0], by + high[1], bx + high[2]))


def _minus(step: Triple) -> Triple:
    return (-step[0], -step[1], -step[2])


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
