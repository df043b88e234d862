"""Score two label volumes of any size against each other, block by block, in this process.

The stage ``evaluate`` counts the same tables in jobs; the kernels are the same.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from bigseg.errors import UserError

if TYPE_CHECKING:
    from bigseg.geometry.box import Box, Triple
    from bigseg.kernels.contingency import Contingency
    from bigseg.kernels.scores import Scores
    from bigseg.progress import Progress
    from bigseg.volumes.header import VolumeHeader
    from bigseg.volumes.source import Source

Counted = TypeVar("Counted")

VOXELS_PER_BLOCK = 1 << 23
"""A block of 8.4 Mvox, about 200³: two of uint64 labels take 134 MB, and each thread holds one pair."""


def score_sources(
    result: Source,
    truth: Source,
    *,
    ignore_zero: bool = True,
    time: int | None = None,
    threads: int | None = None,
    block_shape: Triple | None = None,
) -> Scores:
    """Score one label volume or time-lapse against another, both read in blocks by a pool of threads.

    Memory is that of ``threads`` blocks of each volume and of the table of one time point. Progress goes to standard
    error. The scores depend neither on the blocks nor on the threads.

    Args:
        result: label volume of one channel and an integer type.
        truth: the same, of the same shape.
        ignore_zero: leave voxels with truth label 0 out of VOI and adapted Rand error.
        time: the time point to score, which one of the volumes may hold alone; all together if left out, each label
            being another object at each time point.
        threads: blocks to read at once; as many as there are cores if left out.
        block_shape: (z, y, x) of a block; by default about ``VOXELS_PER_BLOCK``, along the chunks on disk.

    Raises:
        UserError: the shapes differ, a volume has several channels, a type that is not an integer or a negative label,
            there is no such time point, or a file cannot be read.
    """
    from bigseg.geometry.grid import Grid
    from bigseg.kernels.contingency import merge
    from bigseg.kernels.scores import combine, tally
    from bigseg.progress import Progress

    check_comparable(result.header, truth.header, one_time=time is not None and 1 in (_times(result), _times(truth)))
    times = choose_times(max(_times(result), _times(truth)), time)
    shape = result.header.volume_shape
    grid = Grid(shape, block_shape or choose_block_shape(shape, result.header.chunk_shape, truth.header.chunk_shape))
    boxes = [grid.box(index) for index in range(grid.number_of_blocks)]
    workers = threads or available_cores()
    with Progress(len(times) * len(boxes), "evaluate") as progress:
        tables = (merge(_count(result, truth, t, boxes, workers, progress)) for t in times)
        return combine(tally(table, ignore_zero=ignore_zero) for table in tables)


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


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_times(number_of_times: int, time: int | None) -> range:
    """The time points to look at: all, or the one that was asked for.

    Raises:
        UserError: there is no such time point.
    """
    if time is not None and not 0 <= time < number_of_times:
        raise UserError(f"there is no time point {time}: the volumes have {number_of_times}", "they are counted from 0")
    return range(number_of_times) if time is None else range(time, time + 1)


def check_comparable(result: VolumeHeader, truth: VolumeHeader, *, one_time: bool) -> None:
    """Refuse volumes that cannot be compared, before a voxel is read.

    Raises:
        UserError: the shapes differ (but for time where ``one_time``), or one holds no labels.
    """
    if result.shape[1:] != truth.shape[1:] or (result.shape[0] != truth.shape[0] and not one_time):
        raise UserError(
            f"the shapes (t, c, z, y, x) differ: the result has {result.shape}, the truth {truth.shape}",
            "score label volumes of the same region and time points, at the same resolution; with --time, one of them "
            "may hold that time point alone",
        )
    check_labels("result", result)
    check_labels("truth", truth)


def check_labels(name: str, header: VolumeHeader, options: str | None = None) -> None:
    """Refuse a volume that holds no labels.

    Args:
        name: of the volume, for messages.
        header: of the volume.
        options: prefix of the options that name its dataset and its axes; ``--NAME-`` if left out.

    Raises:
        UserError: it has several channels, or a type that is no integer.
    """
    import numpy as np

    prefix = f"--{name}-" if options is None else options
    if header.number_of_channels != 1:
        raise UserError(
            f"the {name} has {header.number_of_channels} channels, and labels have one",
            f"if its axes were read wrongly, give them, for example {prefix}axes tzyx",
        )
    if np.dtype(header.dtype).kind not in "iu":
        raise UserError(
            f"the {name} is of type {header.dtype}, and labels are integers",
            f"is it an image? {prefix}key names another dataset of the same file",
        )


def _times(source: Source) -> int:
    return source.header.number_of_times


def _count(
    result: Source, truth: Source, t: int, boxes: Iterable[Box], workers: int, progress: Progress
) -> Iterator[Contingency]:
    """The tables of all blocks of a time point, in order; few wait at any time, however many blocks there are."""
    from bigseg.kernels.contingency import count_pairs

    def count(box: Box) -> Contingency:
        try:
            found, wanted = (source.read(min(t, _times(source) - 1), 0, box) for source in (result, truth))
            table = count_pairs(found, wanted)
        except ValueError as error:
            raise UserError(f"{error} in block {box} of time point {t}", "labels are 0 (background) or more") from error
        progress.done(box.size)
        return table

    return in_order(count, boxes, workers)


def in_order(work: Callable[[Box], Counted], boxes: Iterable[Box], workers: int) -> Iterator[Counted]:
    """What ``work`` gives for each box, in order, by a pool of threads; few results wait at any time."""
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[Future[Counted]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for box in boxes:
                waiting.append(pool.submit(work, box))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
