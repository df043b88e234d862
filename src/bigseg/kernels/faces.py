"""Where supervoxels go on beyond the faces of their block.

A supervoxel that a block face cuts gives two nodes, and the contact between them runs right through membranes as well
as through the cell. In one piece these contacts would lie inside a supervoxel and would be no evidence of a boundary
at all. Each block has seen its surroundings in the halo, so it can tell for each voxel at its faces whether its own
watershed goes on in the same supervoxel beyond; where the blocks on both sides say so, the contact counts as inside.
"""

from __future__ import annotations

import numpy as np

from bigseg.geometry.box import Slices, Triple


def lower_bit(axis: int) -> np.uint8:
    """The bit that says: goes on beyond the lower face of an axis."""
    return np.uint8(1 << (2 * axis))


def upper_bit(axis: int) -> np.uint8:
    """The bit that says: goes on beyond the upper face of an axis."""
    return np.uint8(2 << (2 * axis))


def continuing(labels_outer: np.ndarray, inner: Slices) -> np.ndarray:
    """For each voxel at a face of the inner box, whether its supervoxel goes on in the next voxel of the halo.

    Args:
        labels_outer: (z, y, x) supervoxels of a block with its halo; 0 is no supervoxel.
        inner: the inner box within it.

    Returns:
        uint8 of the shape of the inner box, bits as :func:`lower_bit` and :func:`upper_bit`; 0 away from the faces.
    """
    result = np.zeros([s.stop - s.start for s in inner], np.uint8)
    for axis in range(3):
        for inside, beyond, place, bit in (
            (inner[axis].start, inner[axis].start - 1, 0, lower_bit(axis)),
            (inner[axis].stop - 1, inner[axis].stop, -1, upper_bit(axis)),
        ):
            if not 0 <= beyond < labels_outer.shape[axis]:
                continue
            here, there = (labels_outer[_plane(inner, axis, position)] for position in (inside, beyond))
            target = result[tuple(place if a == axis else slice(None) for a in range(3))]
            target |= np.where((here == there) & (here != 0), bit, np.uint8(0))
    return result


def contacts_inside(
    labels: np.ndarray, boundary: np.ndarray, continues: np.ndarray, inner_shape: Triple
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contacts across the upper faces of a block that both sides hold to be inside one supervoxel.

    Args:
        labels: (z, y, x) uint64 supervoxels of the inner box, which starts at 0, and one voxel more along each axis
            where the volume goes on.
        boundary: same shape, uint8 boundary map; the value on a contact is the mean of its two voxels.
        continues: same shape, uint8 as of :func:`continuing`.
        inner_shape: shape of the inner box.

    Returns:
        (n,) uint64 smaller and larger supervoxel of each pair, ascending, and (n,) float64 sum of the boundary map over
        such contacts.
    """
    pairs, values = [], []
    for axis in range(3):
        if labels.shape[axis] == inner_shape[axis]:
            continue
        last, beyond = (
            tuple(position if a == axis else slice(0, inner_shape[a]) for a in range(3))
            for position in (inner_shape[axis] - 1, inner_shape[axis])
        )
        agreed = ((continues[last] & upper_bit(axis)) != 0) & ((continues[beyond] & lower_bit(axis)) != 0)
        here, there = labels[last][agreed], labels[beyond][agreed]
        pairs.append(np.stack([np.minimum(here, there), np.maximum(here, there)], axis=1))
        values.append((boundary[last][agreed] + boundary[beyond][agreed].astype(np.float64)) / 2)
    if not pairs:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.float64)
    found, inverse = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    sums = np.bincount(inverse.reshape(-1), np.concatenate(values), len(found))
    real = found[:, 0] != 0
    return found[real, 0], found[real, 1], sums[real]


def _plane(inner: Slices, axis: int, position: int) -> tuple[int | slice, ...]:
    return tuple(position if a == axis else s for a, s in enumerate(inner))
