"""Stage ``seams``: whether the labels show the faces of the blocks, from tables counted block by block."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from bigseg.geometry.box import Box
from bigseg.layout import SEAMS
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.resume.files import write_json
from bigseg.stages.evaluate.truth import TruthStep
from bigseg.stages.step import (
    Need,
    Outcome,
    Parameters,
    WholeStep,
    grid_parameters,
)
from bigseg.volumes.figures import holds_figures, read_figures

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.kernels.seams import SeamTables
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class SeamsBlocks(TruthStep):
    """Count surface, contacts of objects and, with a truth, pairs of labels in a block."""

    stage, step, version = "seams", "blocks", 2

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Where the truth is; how near is near matters for the pairs with its labels alone."""
        truth = plan.sample.truth
        return {
            **grid_parameters(plan),
            "truth": truth.place() if truth else None,
            "distance": config.seams.distance if truth else 1,
        }

    def needs_within(self, box: Box) -> list[Need]:
        """The labels of the block and one voxel beyond its upper faces."""
        return [Need("segment.blocks", self.grid.touching(self._outer(box)), self.grid.number_of_blocks)]

    def empty_with(self, piece: int) -> list[Need]:
        """All labels that are looked at."""
        return self.needs(piece)

    def alike(self, piece: int) -> Hashable:
        """The shape; with a truth also which faces are block faces, from which distances are counted."""
        box = self.grid.box(piece)
        if self.parameters["truth"] is None:
            return box.shape
        upper = tuple(end < length for end, length in zip(box.end, self.grid.shape, strict=True))
        return box.shape, tuple(begin > 0 for begin in box.begin), upper

    def tables(self, piece: int) -> list[Path]:
        """Those of :func:`table_names`."""
        return [self.layout.table("seams", name, self.time, piece) for name in table_names(self.parameters)]

    def process(self, piece: int) -> Outcome:
        """Count and write the block's tables."""
        from bigseg.kernels.seams import count_seams
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        box = self.grid.box(piece)
        labels = VolumeArray(self.layout.labels(), "tzyx", self.grid.shape).read(self.time, 0, self._outer(box))
        truth = self._truth.read(self.time, 0, box) if self.parameters["truth"] else None
        with self.refusing():
            tables = count_seams(labels, truth, box, self.grid, self.parameters["distance"])
        written: list[np.ndarray] = []
        for name, path in zip(table_names(self.parameters), self.tables(piece), strict=True):
            columns = {str(key): column.to_numpy() for key, column in getattr(tables, name).items()}
            write_table(path, columns)
            written += columns.values()
        return Outcome(digest_arrays(*written))

    def _outer(self, box: Box) -> Box:
        return box.grow((0, 0, 0), (1, 1, 1), self.grid.shape)


class SeamsSummary(WholeStep):
    """Write ``seams.json``."""

    stage, step, version, per_time = "seams", "summary", 1, False
    files = (SEAMS,)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Time points, what is near a face, and how large a cut must be."""
        return {
            **grid_parameters(plan),
            **config.seams.model_dump(),
            "times": list(plan.times),
            "truth": plan.sample.truth is not None,
        }

    def needs(self, piece: int) -> list[Need]:
        """All blocks of all time points."""
        blocks = self.grid.number_of_blocks
        return [Need("seams.blocks", range(blocks), blocks, time=t) for t in self.parameters["times"]]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the figures are still what was written."""
        return holds_figures(self.layout.seams, record.digest)

    def rehash(self, piece: int, record: Record) -> str:
        """The figures."""
        return digest_json(read_figures(self.layout.seams))

    def process(self, piece: int) -> Outcome:
        """Add up the tables of each time point and work out the figures of all."""
        from bigseg.kernels.seam_summary import summarise

        found = dict(
            summarise(self.grid, self.parameters["distance"], self.parameters["minimum_cut"], self._time_points())
        )
        write_json(self.layout.seams, found)
        return Outcome(digest_json(found), {"cuts": found["cuts"]})

    def _time_points(self) -> Iterator[tuple[int, SeamTables]]:
        """The tables of each time point; those of one are in memory at a time."""
        import pandas as pd

        from bigseg.kernels.seams import SeamSum, SeamTables
        from bigseg.volumes.tables import read_table

        for time in self.parameters["times"]:
            total = SeamSum()
            for block in range(self.grid.number_of_blocks):
                found = {
                    name: pd.DataFrame(read_table(self.layout.table("seams", name, time, block)))
                    for name in table_names(self.parameters)
                }
                total.add(SeamTables(found["surface"], found["contacts"], found.get("pairs")))
            yield time, total.total()


def table_names(parameters: Parameters) -> tuple[str, ...]:
    """The tables of a block; that of pairs only where there is a truth."""
    return ("surface", "contacts", "pairs") if parameters["truth"] else ("surface", "contacts")
