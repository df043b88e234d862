"""The grid of blocks: inner boxes that tile the volume, numbered in C order.

The index of a block is the upper part of the ids of its supervoxels (:func:`supervoxel_id_range`), so the numbering
depends on nothing but the shape of the volume and the shape of a block.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from bigseg.geometry.box import Box, Triple

LOCAL_ID_BITS = 32
"""A supervoxel's id is ``block_index << LOCAL_ID_BITS | local``; local ids start at 1, so 0 is never used."""


@dataclass(frozen=True)
class Grid:
    """Blocks of shape ``block_shape`` over a volume of shape ``shape``, both (z, y, x) in voxels."""

    shape: Triple
    block_shape: Triple

    @cached_property
    def blocks_per_axis(self) -> Triple:
        """Number of blocks along (z, y, x); the last one of an axis may be smaller."""
        z, y, x = (-(-n // b) for n, b in zip(self.shape, self.block_shape, strict=True))
        return (z, y, x)

    @cached_property
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
        return self.box_at(self.coordinate(index))

    def box_at(self, place: Triple) -> Box:
        """The inner box of the block at a position in the grid of blocks."""
        (z, y, x), (bz, by, bx), (nz, ny, nx) = place, self.block_shape, self.shape
        end = (min((z + 1) * bz, nz), min((y + 1) * by, ny), min((x + 1) * bx, nx))
        return Box((z * bz, y * by, x * bx), end)

    def boxes(self, run: range) -> Iterator[Box]:
        """At most five boxes that the blocks of a run of consecutive indices tile: ends of rows, rows, planes."""
        _, ny, nx = self.blocks_per_axis
        plane, start = ny * nx, run.start
        while start < run.stop:
            # As many whole planes as fit, else whole rows of a plane, else a part of a row.
            for size, limit in ((plane, run.stop), (nx, start + plane - start % plane), (1, start + nx - start % nx)):
                count = (min(run.stop, limit) - start) // size
                if start % size == 0 and count:
                    yield Box(self.box(start).begin, self.box(start + count * size - 1).end)
                    start += count * size
                    break

    def places(self, box: Box) -> Box:
        """The blocks that share a voxel with ``box``, as a box of positions in the grid of blocks."""
        ends = zip(box.begin, box.end, self.block_shape, strict=True)
        z, y, x = ((a // b, -(-e // b)) for a, e, b in ends)
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def touching(self, box: Box) -> list[int]:
        """Indices, ascending, of the blocks whose inner box shares a voxel with ``box``."""
        return list(itertools.chain(*self._rows(self.places(box)))) if box.size > 0 else []

    def at(self, places: Iterable[Box]) -> list[int]:
        """Indices, ascending, of the blocks at any of the positions in some boxes; what lies outside is left out."""
        return sorted(set(itertools.chain(*(row for box in places for row in self._rows(box)))))

    def _rows(self, places: Box) -> Iterator[range]:
        """Indices of the blocks at a box of positions, row by row."""
        _, ny, nx = self.blocks_per_axis
        z, y, x = (
            range(max(0, a), min(b, n)) for a, b, n in zip(places.begin, places.end, self.blocks_per_axis, strict=True)
        )
        for first in (((p * ny) + q) * nx for p, q in itertools.product(z, y)):
            yield range(first + x.start, first + x.stop)

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
