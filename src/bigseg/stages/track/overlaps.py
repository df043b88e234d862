"""What objects share with those of the time point before, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.geometry.box import Box, Triple, triple
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.step import BlockStep, Need, Outcome, Parameters, digest_tables, grid_parameters
from bigseg.stages.track.drift import read_drift, whole_voxels
from bigseg.stages.track.settings import VERSION, PairStep, largest_shift, movie_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class TrackOverlaps(PairStep, BlockStep):
    """Count the voxels of a block that an object shares with one of the time point before, moved by the drift."""

    stage, step, version = "track", "overlaps", VERSION
    passing = ("track/*/overlaps-*",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The largest drift."""
        return {
            **grid_parameters(plan),
            **movie_parameters(plan),
            "largest_shift": list(largest_shift(config, plan)),
        }

    def needs_within(self, box: Box) -> list[Need]:
        """The labels of the block, and those of the time point before from where they can have come."""
        total = self.grid.number_of_blocks
        before = box.grow(self._largest, self._largest, self.grid.shape)
        found = [
            Need("segment.blocks", self.grid.touching(box), total),
            Need("segment.blocks", self.grid.touching(before), total, time=self.previous),
        ]
        if any(self._largest):
            found.append(Need("track.drift", [0], in_key=False))
        return found

    def evidence(self, piece: int) -> str:
        """The time point before, and the drift in whole voxels."""
        return digest_json([self.previous, self._drift])

    def empty_with(self, piece: int) -> list[Need]:
        """The block's labels: what is not there shares nothing."""
        return [Need("segment.blocks", [piece], self.grid.number_of_blocks)]

    def tables(self, piece: int) -> list[Path]:
        """The pairs."""
        return [self.layout.table("track", "overlaps", self.time, piece)]

    def process(self, piece: int) -> Outcome:
        """Count and write the block's table."""
        import numpy as np

        from bigseg.kernels.tracking.overlaps import count_overlaps
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        here, there = shared_boxes(self.grid.box(piece), self._drift, self.grid.shape)
        if here.size:
            store = VolumeArray(self.layout.labels(), "tzyx", self.grid.shape)
            columns = count_overlaps(store.read(self.previous, 0, there), store.read(self.time, 0, here))
        else:
            nothing = np.zeros((0, 0, 0), np.uint64)
            columns = count_overlaps(nothing, nothing)
        (path,) = self.tables(piece)
        write_table(path, columns)
        return Outcome(digest_arrays(*columns.values()), {"pairs": len(columns["source"])})

    def rehash(self, piece: int, record: Record) -> str:
        """The table."""
        return digest_tables(self.tables(piece))

    @property
    def _largest(self) -> Triple:
        return triple(self.parameters["largest_shift"])

    @property
    def _drift(self) -> Triple:
        return whole_voxels(read_drift(self))


def shared_boxes(box: Box, drift: Triple, volume: Triple) -> tuple[Box, Box]:
    """The part of a box that was inside the volume before it drifted, and where that was; empty parts at 0."""
    begin, end = [], []
    for first, past, moved, length in zip(box.begin, box.end, drift, volume, strict=True):
        low, high = max(first, moved), min(past, length + moved)
        begin.append(low if low < high else first)
        end.append(high if low < high else first)
    here = Box(triple(begin), triple(end))
    if not here.size:
        nothing = Box((0, 0, 0), (0, 0, 0))
        return nothing, nothing
    there = Box(
        triple([b - d for b, d in zip(begin, drift, strict=True)]),
        triple([e - d for e, d in zip(end, drift, strict=True)]),
    )
    return here, there
