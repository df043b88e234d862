"""The grid of blocks: inner boxes that tile the volume, numbered in C order.

The index of a block is the upper part of the ids of its supervoxels (:func:`supervoxel_id_range`), so the numbering
depends on nothing but the shape of the volume and the shape of a block.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from bigseg.geometry.box import Box, Triple

LOCAL_ID_BITS = 32
"""A supervoxel's id is ``block_index << LOCAL_ID_BITS | local``; local ids start at 1, so 0 is never used."""


@dataclass(frozen=True)
class Grid:
    """Blocks of shape ``block_shape`` over a volume of shape ``shape``, both (z, y, x) in voxels."""

    shape: Triple
    block_shape: Triple

    @property
    def blocks_per_axis(self) -> Triple:
        """Number of blocks along (z, y, x); the last one of an axis may be smaller."""
        z, y, x = (-(-n // b) for n, b in zip(self.shape, self.block_shape, strict=True))
        return (z, y, x)

    @property
    def number_of_blocks(self) -> int:
        """Number of blocks of the volume."""
        z, y, x = self.blocks_per_axis
        return z * y * x

    def coordinate(self, index: int) -> Triple:
        """Position (z, y, x) of block ``index`` in the grid of blocks."""
        _, ny, nx = self.blocks_per_axis
        return (index // (ny * nx), index // nx % ny, index % nx)

    def box(self, index: int) -> Box:
        """The inner box of block ``index``; the inner boxes of all blocks tile the volume."""
        if not 0 <= index < self.number_of_blocks:
            raise IndexError(f"block {index} of a grid with {self.number_of_blocks} blocks")
        z, y, x = (
            (i * b, min((i + 1) * b, n))
            for i, b, n in zip(self.coordinate(index), self.block_shape, self.shape, strict=True)
        )
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def touching(self, box: Box) -> list[int]:
        """Indices, ascending, of the blocks whose inner box shares a voxel with ``box``."""
        if box.size <= 0:
            return []
        _, ny, nx = self.blocks_per_axis
        ranges = [range(a // b, (e - 1) // b + 1) for a, e, b in zip(box.begin, box.end, self.block_shape, strict=True)]
        return [(z * ny + y) * nx + x for z, y, x in itertools.product(*ranges)]

    def neighbourhood(self, index: int, before: Triple, after: Triple) -> list[int]:
        """Indices of the blocks that block ``index`` touches with its inner box and halo, itself included."""
        return self.touching(self.box(index).grow(before, after, self.shape))


def supervoxel_id_range(block: int) -> tuple[int, int]:
    """First and one past the last id that supervoxels of a block can have."""
    return block << LOCAL_ID_BITS, (block + 1) << LOCAL_ID_BITS


def shard_shape(volume: Triple, block: Triple, chunk: Triple) -> Triple:
    """Shape of a Zarr shard: the block, rounded up to whole chunks along axes that are a single block."""
    z, y, x = (b if b < n else -(-n // c) * c for n, b, c in zip(volume, block, chunk, strict=True))
    return (z, y, x)
