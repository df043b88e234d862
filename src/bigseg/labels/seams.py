"""Look for block faces in a label volume of any size, block by block, in this process.

The stage ``seams`` counts the same tables in jobs; the kernels are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.labels.reading import check_comparable, check_labels, choose_block_shape, choose_times
from bigseg.threads import available_cores, in_order

if TYPE_CHECKING:
    import numpy as np

    from bigseg.geometry.box import Box, Triple
    from bigseg.geometry.grid import Grid
    from bigseg.kernels.seam_summary import SeamSummary
    from bigseg.kernels.seams import SeamTables
    from bigseg.progress import Progress
    from bigseg.volumes.source import Source


def seams_of_source(
    labels: Source,
    block_shape: Triple,
    truth: Source | None = None,
    *,
    distance: int,
    minimum_cut: int,
    time: int | None = None,
    threads: int | None = None,
    read_shape: Triple | None = None,
) -> SeamSummary:
    """Count what lies on the block faces of a label volume or time-lapse, and what lies beside them.

    Memory is that of ``threads`` blocks of each volume and of the tables of one time point. Progress goes to standard
    error. The figures depend neither on the blocks that are read nor on the threads.

    Args:
        labels: label volume of one channel and an integer type.
        block_shape: (z, y, x) of the blocks whose faces are looked at.
        truth: another of the same shape, if errors are to be counted.
        distance: voxels within which a block face is near.
        minimum_cut: edge in voxels of the smallest contact that counts as a cut.
        time: the time point to look at, which one of the volumes may hold alone; all together if left out.
        threads: blocks to read at once; as many as there are cores if left out.
        read_shape: (z, y, x) of the blocks that are read; by default about 8 Mvox, along the chunks on disk.

    Raises:
        UserError: the shapes differ, a volume has several channels, a type that is not an integer or a negative label,
            there is no such time point, or a file cannot be read.
    """
    from bigseg.geometry.grid import Grid
    from bigseg.kernels.seam_summary import summarise
    from bigseg.progress import Progress

    check_labels(labels.header, "label volume", "--")
    sources = [labels] if truth is None else [labels, truth]
    numbers = [source.header.number_of_times for source in sources]
    if truth is not None:
        one_time = time is not None and 1 in numbers
        check_comparable(labels.header, truth.header, "label volume", "--", one_time=one_time)
    times = choose_times(max(numbers), time)
    shape = labels.header.volume_shape
    reading = Grid(shape, read_shape or choose_block_shape(shape, *(source.header.chunk_shape for source in sources)))
    grid = Grid(shape, block_shape)
    with Progress(len(times) * reading.number_of_blocks, "seams") as progress:

        def tables() -> Iterator[tuple[int, SeamTables]]:
            for t in times:
                yield t, _count(labels, truth, t, reading, grid, distance, threads or available_cores(), progress)

        return summarise(grid, distance, minimum_cut, tables())


def _count(
    labels: Source,
    truth: Source | None,
    t: int,
    reading: Grid,
    grid: Grid,
    distance: int,
    workers: int,
    progress: Progress,
) -> SeamTables:
    """The tables of one time point."""
    from bigseg.kernels.seams import SeamSum, count_seams

    def read(source: Source, box: Box) -> np.ndarray:
        return source.read(min(t, source.header.number_of_times - 1), 0, box)

    def count(box: Box) -> SeamTables:
        outer = box.grow((0, 0, 0), (1, 1, 1), grid.shape)
        try:
            found = count_seams(read(labels, outer), None if truth is None else read(truth, box), box, grid, distance)
        except ValueError as error:
            raise UserError(f"{error} in block {box} of time point {t}", "labels are 0 (background) or more") from error
        progress.done(box.size)
        return found

    total = SeamSum()
    boxes = (reading.box(index) for index in range(reading.number_of_blocks))
    for tables in in_order(count, boxes, workers):
        total.add(tables)
    return total.total()
