"""A synthetic region graph of any size, whose blocks can be made one by one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.volumes.tables import Table

LOCAL = ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0))
LONG_RANGE = ((0, 0, 4), (0, 4, 0), (4, 0, 0))
OBJECT = 8
"""Distance of the planted objects' centres, in nodes."""

Ints = NDArray[np.int64]
Place = tuple[int, int, int]


@dataclass(frozen=True)
class SyntheticGraph:
    """Supervoxels on a grid, ``side``³ of them in each of ``grid``³ blocks, with planted objects and noisy contacts."""

    side: int
    grid: int

    @property
    def number_of_nodes(self) -> int:
        """Number of supervoxels."""
        return (self.grid * self.side) ** 3

    def coordinate(self, block: int) -> Place:
        """Place of a block in the grid."""
        return block // self.grid**2, block // self.grid % self.grid, block % self.grid

    def nodes(self, block: int) -> Table:
        """Table of the supervoxels of a block, as stage ``graph`` writes it."""
        ids = np.arange(1, self.side**3 + 1, dtype=np.uint64) + np.uint64(block << 32)
        return {"id": ids, "size": np.full(len(ids), 500, np.uint64)}

    def contacts(self, block: int) -> Table:
        """Table of the contacts whose lower voxel lies in a block: along axes, and most of those across an edge.

        ``outside`` is finer than the halves of uint8 sums, so that hardly two probabilities are equal and a solver with
        another order of ties can be compared; sums are exact all the same.
        """
        parts: list[tuple[np.ndarray, ...]] = []
        for number, offset in enumerate(LOCAL):
            a, b = self._pairs(block, offset)
            if sum(offset) > 1:
                faces = (a // self.side != b // self.side).sum(axis=0)  # supervoxels touch across one face of a block
                kept = (uniform(a, 10 + number) < 0.8) & (faces < 2)
                a, b = a[:, kept], b[:, kept]
            count = 1 + np.floor(300 * uniform(a, 70 + number))
            outside = np.rint(2**20 * 255 * count * self._probability(a, b, number)) / 2**20
            parts.append((self._ids(a), self._ids(b), count, outside))
        return _sorted_table(("u", "v", "count", "outside"), parts)

    def long_range(self, block: int, beta: float) -> Table:
        """Table of repulsive edges between supervoxels that lie apart, as step ``partition.lifted`` writes it."""
        parts: list[tuple[np.ndarray, ...]] = []
        for number, offset in enumerate(LONG_RANGE, len(LOCAL)):
            a, b = self._pairs(block, offset)
            weight = np.minimum((1 - beta) - self._probability(a, b, number), 0.0)
            parts.append((self._ids(a), self._ids(b), weight, np.ones(len(weight))))
        return _sorted_table(("u", "v", "value", "count"), parts)

    def _pairs(self, block: int, offset: Place) -> tuple[Ints, Ints]:
        """Places (3, n) of the nodes of a block and of those at an offset, as far as these exist."""
        corner = np.array(self.coordinate(block)) * self.side
        lower = np.indices((self.side,) * 3).reshape(3, -1) + corner[:, None]
        upper = lower + np.array(offset)[:, None]
        kept = (upper < self.grid * self.side).all(axis=0)
        return lower[:, kept], upper[:, kept]

    def _probability(self, a: Ints, b: Ints, number: int) -> NDArray[np.float64]:
        cut = (self._object(a) != self._object(b)).any(axis=0)
        normal = np.sqrt(-2 * np.log1p(-uniform(a, 30 + number))) * np.cos(2 * np.pi * uniform(a, 50 + number))
        return np.asarray(1 / (1 + np.exp(np.where(cut, -1.0, 1.2) + 0.8 * normal)))

    def _ids(self, place: Ints) -> NDArray[np.uint64]:
        block, local = place // self.side, place % self.side
        upper = (block[0] * self.grid + block[1]) * self.grid + block[2]
        lower = (local[0] * self.side + local[1]) * self.side + local[2] + 1
        return np.asarray((upper << 32) + lower, np.uint64)

    def _object(self, place: Ints) -> Ints:
        """Position (3, n) of the cell of the nearest of the planted centres, one at a random place in each cell."""
        best, nearest = np.full(place.shape[1], np.inf), np.zeros_like(place)
        for step in itertools.product((-1, 0, 1), repeat=3):
            cell = place // OBJECT + np.array(step)[:, None]
            distance = np.zeros(place.shape[1])
            for axis in range(3):
                distance += ((cell[axis] + uniform(cell, 90 + axis)) * OBJECT - place[axis]) ** 2
            closer = distance < best
            best[closer], nearest[:, closer] = distance[closer], cell[:, closer]
        return nearest


def uniform(place: Ints, stream: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each position (3, n), the same in whatever block it is asked for (splitmix64)."""
    z, y, x = (place + 2**20).astype(np.uint64)
    key = (z << np.uint64(42)) ^ (y << np.uint64(21)) ^ x
    key += np.uint64(stream * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        key = (key ^ (key >> np.uint64(shift))) * np.uint64(factor)
    key ^= key >> np.uint64(31)
    return np.asarray((key >> np.uint64(11)) / 2**53)


def _sorted_table(names: tuple[str, ...], parts: list[tuple[np.ndarray, ...]]) -> Table:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    return {name: column[order] for name, column in zip(names, columns, strict=True)}
