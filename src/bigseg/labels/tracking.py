"""Score tracks of any origin and size against true tracks, block by block and time point by time point.

The stage ``evaluate`` counts the same tables in jobs; the kernels are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.labels.reading import check_labels, choose_block_shape
from bigseg.threads import available_cores, in_order

if TYPE_CHECKING:
    from bigseg.geometry.box import Box, Triple
    from bigseg.kernels.contingency import Contingency
    from bigseg.kernels.derived_lineage import Places
    from bigseg.kernels.lineage import Lineage
    from bigseg.kernels.tracking_scores import TrackingScores, TrackingTally
    from bigseg.volumes.source import Source


@dataclass(frozen=True)
class LineageFile:
    """Where a lineage is told: a text file of the Cell Tracking Challenge, or bigseg's table of tracks."""

    path: Path
    option: str
    """What names it, for messages."""

    def read(self) -> Lineage:
        """The lineage.

        Raises:
            UserError: the file is missing or no lineage.
        """
        if self.path.suffix == ".parquet":
            from bigseg.tracks.table import lineage_of, read_tracks

            return lineage_of(read_tracks(self.path))
        from bigseg.tracks.ctc import read_lineage

        return read_lineage(self.path, self.option)


def score_tally(
    tally: TrackingTally, result: LineageFile | None, truth: LineageFile | Lineage | None, *, part: bool
) -> TrackingScores:
    """The scores, once all time points were added.

    Args:
        tally: of the time points.
        result: the lineage of the result; None where none of its tracks comes from another.
        truth: that of the truth, likewise.
        part: whether only a part of the volumes was looked at, of which the lineages tell more than is seen.

    Raises:
        UserError: a lineage is missing or contradicts the labels.
    """
    found, wanted = tally.seen()
    return tally.scores(_fitted(result, found, "result", part=part), _fitted(truth, wanted, "truth", part=part))


def _fitted(given: LineageFile | Lineage | None, seen: Lineage, name: str, *, part: bool) -> Lineage:
    """The lineage of the labels that are seen."""
    from bigseg.kernels.lineage import check_agreement, restrict

    if given is None:
        return seen
    lineage = given.read() if isinstance(given, LineageFile) else given
    try:
        if not part:
            check_agreement(lineage, seen)
        return restrict(lineage, seen)
    except ValueError as error:
        told = str(given.path) if isinstance(given, LineageFile) else "the lineage"
        raise UserError(
            f"{told}: does not fit the labels of the {name}: {error}",
            "a label is one track over time, and the lineage names every one with its first and last time point",
        ) from error


def derive_lineage(truth: Source, *, threads: int | None = None, block_shape: Triple | None = None) -> Lineage:
    """Find divisions in labels that persist in time (:mod:`bigseg.kernels.derived_lineage`).

    Every time point is read twice, block by block.

    Args:
        truth: label volumes of several time points.
        threads: blocks to read at once; as many as there are cores if left out.
        block_shape: (z, y, x) of a block.

    Raises:
        UserError: it holds no labels, or a file cannot be read.
    """
    from bigseg.geometry.grid import Grid
    from bigseg.kernels.contingency import count_pairs, merge
    from bigseg.kernels.derived_lineage import LineageFinder, find_places, merge_places
    from bigseg.progress import Progress

    header = truth.header
    check_labels(header, "truth", "--truth-")
    shape = header.volume_shape
    grid = Grid(shape, block_shape or choose_block_shape(shape, header.chunk_shape))
    boxes = [grid.box(index) for index in range(grid.number_of_blocks)]
    finder = LineageFinder(header.voxel_size_um or (1.0, 1.0, 1.0), plane=shape[0] == 1)
    with Progress(header.number_of_times * len(boxes), "lineage of the truth") as progress:
        for t in range(header.number_of_times):

            def look(box: Box, t: int = t) -> tuple[Places, Contingency]:
                now = truth.read(t, 0, box)
                try:
                    table = count_pairs(truth.read(max(t - 1, 0), 0, box), now)
                except ValueError as error:
                    place = f"{error} in block {box} of time point {t}"
                    raise UserError(place, "labels are 0 (background) or more") from error
                progress.done(box.size)
                return find_places(now, box.begin), table

            places: list[Places] = []
            tables: list[Contingency] = []
            for place, table in in_order(look, boxes, threads or available_cores()):
                places.append(place)
                tables.append(table)
            finder.add(t, merge_places(places), merge(tables))
    return finder.lineage()
