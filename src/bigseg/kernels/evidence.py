"""What other maps say of supervoxels: the nucleus and the class that each lies in, and affinities between them.

Everything is counted in voxels and kept as counts, so that thresholds and weights can be chosen, and changed, later
without reading a voxel again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import bioimage_cpp as bic
import numpy as np
from numpy.typing import NDArray

from bigseg.geometry.box import Slices, Triple
from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.pairs import distinct_pairs
from bigseg.kernels.signed_graph import Ids


@dataclass(frozen=True)
class LongRange:
    """Pairs of supervoxels that offsets link, with statistics of the affinities along the offsets.

    Attributes:
        u: (n,) uint64 smaller id of each pair.
        v: (n,) uint64 larger id.
        count: (n,) float64 number of voxel pairs.
        boundary_sum: (n,) float64 sum over these of 255 · (1 - affinity), a whole number, so that sums are exact in any
            order.
    """

    u: Ids
    v: Ids
    count: NDArray[np.float64]
    boundary_sum: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.u)

    @property
    def probability(self) -> NDArray[np.float64]:
        """(n,) float64 mean over the voxel pairs of the probability, 1 - affinity, that a boundary separates them."""
        return self.boundary_sum / (255 * self.count)

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {column.name: getattr(self, column.name) for column in fields(self)}

    def take(self, rows: NDArray[np.bool_]) -> LongRange:
        """The pairs of a mask."""
        return LongRange(self.u[rows], self.v[rows], self.count[rows], self.boundary_sum[rows])


class MostFrequent(NamedTuple):
    """The label that most voxels of each supervoxel have.

    Attributes:
        label: (n,) uint64, of equally frequent ones the smallest; 0 if no voxel has a label.
        voxels: (n,) uint64 voxels of the supervoxel with that label.
        total: (n,) uint64 voxels of the block with that label.
    """

    label: Ids
    voxels: Ids
    total: Ids


def most_frequent(supervoxels: np.ndarray, labels: np.ndarray, ids: Ids) -> MostFrequent:
    """The label that most voxels of each supervoxel of a block have, apart from 0.

    Args:
        supervoxels: (z, y, x) uint64; 0 is no supervoxel.
        labels: same shape, any integer type.
        ids: (n,) uint64 ids of the supervoxels, ascending.

    Raises:
        ValueError: a label is negative, or its type is not an integer.
    """
    pairs = count_pairs(supervoxels, labels)
    real = (pairs.result != 0) & (pairs.truth != 0)
    owner, label, count = pairs.result[real], pairs.truth[real], pairs.count[real]
    order = np.lexsort((label, -count.astype(np.int64), owner))
    owner, label, count = owner[order], label[order], count[order]
    first = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]][: len(owner)])
    owner, label, count = owner[first], label[first], count[first]
    names, inverse = np.unique(pairs.truth, return_inverse=True)
    totals = np.zeros(len(names), np.uint64)
    np.add.at(totals, inverse, pairs.count)
    found = MostFrequent(*(np.zeros(len(ids), np.uint64) for _ in range(3)))
    rows = np.searchsorted(ids, owner)
    found.label[rows], found.voxels[rows], found.total[rows] = label, count, totals[np.searchsorted(names, label)]
    return found


def boundary_from_affinity(affinity: np.ndarray, *, invert: bool) -> NDArray[np.uint8]:
    """255 · (1 - affinity), rounded; an affinity of 1 says that two voxels are of the same object.

    Args:
        affinity: any shape, uint8 (0 … 255) or fractions (0 … 1).
        invert: the values are 1 - affinity already.

    Raises:
        ValueError: a fraction is not in [0, 1].
    """
    if affinity.dtype == np.uint8:
        return affinity if invert else np.uint8(255) - affinity
    if affinity.size and not bool(((affinity >= 0) & (affinity <= 1)).all()):  # false for NaN too
        raise ValueError("holds affinities that are not in 0 … 1")
    scaled = np.rint(affinity.astype(np.float64) * 255).astype(np.uint8)
    return scaled if invert else np.uint8(255) - scaled


def long_range(
    supervoxels: np.ndarray, channels: Iterable[np.ndarray], offsets: Sequence[Triple], inner: Slices
) -> LongRange:
    """Pairs of supervoxels linked by offsets from the voxels of a block.

    A pair of voxels belongs to the block of its reference voxel, where the affinity is stored; so the tables of all
    blocks add up to that of the volume (:func:`add_up`), and each row has one of its ends in the block.

    Args:
        supervoxels: (z, y, x) uint64 of the block and all that offsets reach from it in the volume; 0 is none.
        channels: for each offset, uint8 of the inner box's shape, 255 · (1 - affinity) between a voxel and the one an
            offset further.
        offsets: (z, y, x) of each channel, in voxels.
        inner: the block's inner box in ``supervoxels``.

    Returns:
        The pairs, ascending by (u, v), each once; pairs within a supervoxel are left out.
    """
    labels = np.ascontiguousarray(supervoxels)
    values = np.zeros((1, *labels.shape), np.float64)
    begin = [part.start for part in inner]
    parts = []
    for channel, offset in zip(channels, offsets, strict=True):
        values[(0, *inner)] = channel
        pairs, stats = bic.graph.distributed.block_affinity_stats(
            labels, values, [list(offset)], begin, list(channel.shape), number_of_threads=1
        )
        real = pairs[:, 0] != 0  # u < v, so what is no supervoxel can only be u
        count, mean = stats[real, 0], stats[real, 1]
        parts.append(LongRange(pairs[real, 0], pairs[real, 1], count, np.rint(count * mean)))
    return add_up(parts)


def add_up(parts: Sequence[LongRange]) -> LongRange:
    """Add up tables: each pair once, ascending by (u, v)."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return LongRange(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0), np.zeros(0))
    u, v, count, total = (np.concatenate(c) for c in zip(*(part.columns().values() for part in parts), strict=True))
    found = distinct_pairs(u, v)
    return LongRange(found.u, found.v, found.add_up(count), found.add_up(total))
