"""Score two label volumes of any size against each other, block by block, in this process.

The stage ``evaluate`` counts the same tables in jobs; the kernels are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.labels.reading import check_comparable, choose_block_shape, choose_times
from bigseg.threads import available_cores, in_order

if TYPE_CHECKING:
    from bigseg.geometry.box import Box, Triple
    from bigseg.kernels.contingency import Contingency
    from bigseg.kernels.scores import Scores
    from bigseg.progress import Progress
    from bigseg.volumes.source import Source


def score_sources(
    result: Source,
    truth: Source,
    *,
    ignore_zero: bool = True,
    time: int | None = None,
    threads: int | None = None,
    block_shape: Triple | None = None,
    each: Callable[[int, Contingency], None] | None = None,
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
        each: is told each time point and its table.

    Raises:
        UserError: the shapes differ, a volume has several channels, a type that is not an integer or a negative label,
            there is no such time point, or a file cannot be read.
    """
    from bigseg.kernels.scores import combine, tally

    def tables() -> Iterator[Contingency]:
        for t, table in count_tables(result, truth, time=time, threads=threads, block_shape=block_shape):
            if each is not None:
                each(t, table)
            yield table

    return combine(tally(table, ignore_zero=ignore_zero) for table in tables())


def count_tables(
    result: Source,
    truth: Source,
    *,
    time: int | None = None,
    threads: int | None = None,
    block_shape: Triple | None = None,
    what: str = "evaluate",
) -> Iterator[tuple[int, Contingency]]:
    """The contingency table of each time point, read in blocks; arguments and errors as :func:`score_sources`.

    Args:
        result: label volume.
        truth: the same.
        time: the only time point.
        threads: blocks to read at once.
        block_shape: (z, y, x) of a block.
        what: name of the progress.
    """
    from bigseg.geometry.grid import Grid
    from bigseg.kernels.contingency import merge
    from bigseg.progress import Progress

    one_time = time is not None and 1 in (_times(result), _times(truth))
    check_comparable(result.header, truth.header, "result", "--result-", one_time=one_time)
    times = choose_times(max(_times(result), _times(truth)), time)
    shape = result.header.volume_shape
    grid = Grid(shape, block_shape or choose_block_shape(shape, result.header.chunk_shape, truth.header.chunk_shape))
    boxes = [grid.box(index) for index in range(grid.number_of_blocks)]
    workers = threads or available_cores()
    with Progress(len(times) * len(boxes), what) as progress:
        for t in times:
            yield t, merge(_count(result, truth, t, boxes, workers, progress))


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
