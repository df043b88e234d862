"""The octree over the blocks: a superblock of level l joins 2 × 2 × 2 superblocks of level l - 1; level 0 are the blocks."""

from __future__ import annotations

from dataclasses import dataclass

from bigseg.geometry.box import Box, Triple
from bigseg.geometry.grid import Grid


@dataclass(frozen=True)
class Octree:
    """Superblocks of each level are numbered in C order, like blocks."""

    grid: Grid

    def level(self, level: int) -> Grid:
        """The superblocks of a level as blocks of a grid whose voxels are the blocks of level 0."""
        side = 1 << level
        return Grid(self.grid.blocks_per_axis, (side, side, side))

    def count(self, level: int) -> int:
        """Number of superblocks of a level."""
        return self.level(level).number_of_blocks

    def parent(self, superblock: int, level: int) -> int:
        """The superblock of ``level + 1`` that holds a superblock of ``level``."""
        return self.ancestor(self._corner(superblock, level), level + 1)

    def ancestor(self, block: Triple, level: int) -> int:
        """The superblock of a level that holds the block at position (z, y, x) of the grid of blocks."""
        z, y, x = block
        return self.level(level).touching(Box(block, (z + 1, y + 1, x + 1)))[0]

    def children(self, superblock: int, level: int) -> list[int]:
        """The superblocks of ``level - 1`` that make up a superblock, ascending."""
        return self.level(level - 1).touching(self.level(level).box(superblock))

    def beside(self, superblock: int, level: int) -> list[int]:
        """The superblocks of ``level - 1`` outside a superblock that share a face with it, ascending."""
        box, finer = self.level(level).box(superblock), self.level(level - 1)
        found: set[int] = set()
        for axis in range(3):
            one = tuple(int(a == axis) for a in range(3))
            found.update(finer.touching(box.grow((one[0], one[1], one[2]), (one[0], one[1], one[2]), finer.shape)))
        return sorted(found - set(self.children(superblock, level)))

    def _corner(self, superblock: int, level: int) -> Triple:
        return self.level(level).box(superblock).begin


def default_levels(grid: Grid, most_at_root: int = 64) -> int:
    """Levels below the root: as few as leave at most ``most_at_root`` superblocks to it."""
    levels = 0
    while Octree(grid).count(levels) > most_at_root:
        levels += 1
    return levels
