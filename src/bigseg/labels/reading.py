"""How label volumes of any origin are read: which are refused, in what blocks, which time points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.errors import UserError

if TYPE_CHECKING:
    from bigseg.geometry.box import Triple
    from bigseg.volumes.header import VolumeHeader

VOXELS_PER_BLOCK = 1 << 23
"""A block of 8.4 Mvox, about 200³: two of uint64 labels take 134 MB, and each thread holds one pair."""


def choose_block_shape(shape: Triple, *chunk_shapes: Triple | None) -> Triple:
    """A block of about ``VOXELS_PER_BLOCK`` that cuts few chunks.

    Args:
        shape: (z, y, x) of the volume.
        chunk_shapes: (z, y, x) of the chunks of each file; None for one that is not chunked, of which whole planes lie
            together.

    Returns:
        The larger chunk along each axis, doubled (the shortest side first) or, if it is too large, halved.
    """
    chunks = [(1, *shape[1:]) if chunk is None else chunk for chunk in chunk_shapes]
    block = [min(shape[axis], max(chunk[axis] for chunk in chunks)) for axis in range(3)]

    def size() -> int:
        return block[0] * block[1] * block[2]

    while size() > VOXELS_PER_BLOCK:
        axis = block.index(max(block))
        block[axis] = -(-block[axis] // 2)
    while growing := [axis for axis in range(3) if block[axis] < shape[axis]]:
        axis = min(growing, key=lambda axis: block[axis])
        if 2 * size() > VOXELS_PER_BLOCK:
            break
        block[axis] = min(2 * block[axis], shape[axis])
    return (block[0], block[1], block[2])


def choose_times(number_of_times: int, time: int | None) -> range:
    """The time points to look at: all, or the one that was asked for.

    Raises:
        UserError: there is no such time point.
    """
    if time is not None and not 0 <= time < number_of_times:
        raise UserError(f"there is no time point {time}: the volumes have {number_of_times}", "they are counted from 0")
    return range(number_of_times) if time is None else range(time, time + 1)


def check_comparable(labels: VolumeHeader, truth: VolumeHeader, name: str, options: str, *, one_time: bool) -> None:
    """Refuse volumes that cannot be compared, before a voxel is read.

    Args:
        labels: header of the volume that is looked at.
        truth: header of the one that it is compared with.
        name: of the first, for messages.
        options: prefix of the options that name its dataset and its axes; those of the truth begin with ``--truth-``.
        one_time: whether one may hold a single time point of the other.

    Raises:
        UserError: the shapes differ (but for time where ``one_time``), or one holds no labels.
    """
    if labels.shape[1:] != truth.shape[1:] or (labels.shape[0] != truth.shape[0] and not one_time):
        raise UserError(
            f"the shapes (t, c, z, y, x) differ: the {name} has {labels.shape}, the truth {truth.shape}",
            "give label volumes of the same region and time points, at the same resolution; with --time, one of them "
            "may hold that time point alone; where a file does not tell its axes, name them (see --help)",
        )
    check_labels(labels, name, options)
    check_labels(truth, "truth", "--truth-")


def check_labels(header: VolumeHeader, name: str, options: str) -> None:
    """Refuse a volume that holds no labels.

    Args:
        header: of the volume.
        name: of the volume, for messages.
        options: prefix of the options that name its dataset and its axes, e.g. ``--truth-``.

    Raises:
        UserError: it has several channels, or a type that is no integer.
    """
    import numpy as np

    if header.number_of_channels != 1:
        raise UserError(
            f"the {name} has {header.number_of_channels} channels, and labels have one",
            f"if its axes were read wrongly, give them, for example {options}axes tzyx",
        )
    if np.dtype(header.dtype).kind not in "iu":
        raise UserError(
            f"the {name} is of type {header.dtype}, and labels are integers",
            f"is it an image? {options}key names another dataset of the same file",
        )
