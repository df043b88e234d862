"""The threshold of the foreground, one for each time point."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.geometry.box import Box
from bigseg.layout import Layout
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.resume.files import write_json
from bigseg.stages.step import (
    BlockStep,
    Need,
    Outcome,
    Parameters,
    WholeStep,
    digest_tables,
    grid_parameters,
)
from bigseg.stages.supervoxels.settings import foreground_parameters
from bigseg.volumes.figures import holds_figures, read_figures

if TYPE_CHECKING:
    from pathlib import Path

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source


def foreground_level(layout: Layout, time: int, foreground: Parameters) -> int:
    """The lowest value of the uint8 map that is foreground.

    Raises:
        UserError: the threshold of the time point is missing or damaged.
    """
    from bigseg.kernels.foreground import level_of

    if foreground["threshold"] != "otsu":
        return level_of(foreground["threshold"])
    return int(read_figures(layout.foreground_threshold(time))["level"])


def _parameters(config: Config, plan: SamplePlan) -> Parameters:
    """What both steps are told."""
    found, mask = foreground_parameters(config, plan), plan.sample.mask
    return {"map": None if found is None else found["map"], "mask": None if mask is None else mask.place()}


class SupervoxelsHistogram(BlockStep):
    """Count the values of the foreground map in a block: where the mask is, and what is not nothing at all.

    A value of 0 stands for what is as dark as can be, and for blocks without data, which count nowhere.
    """

    stage, step, version = "supervoxels", "histogram", 1
    passing = ("supervoxels/*/histogram-*",)
    opens = ("_mask",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The grid, which map, and the mask."""
        return {**grid_parameters(plan), **_parameters(config, plan)}

    def needs_within(self, box: Box) -> list[Need]:
        """The map of the block."""
        return [Need("predict.blocks", self.grid.touching(box), self.grid.number_of_blocks)]

    def evidence(self, piece: int) -> str:
        """The mask in the block."""
        return "" if self._mask is None else digest_arrays(self._mask.read(self.time, 0, self.grid.box(piece)) != 0)

    def tables(self, piece: int) -> list[Path]:
        """The counts."""
        return [self.layout.table("supervoxels", "histogram", self.time, piece)]

    def process(self, piece: int) -> Outcome:
        """Count and write the table."""
        from bigseg.kernels.foreground import count_levels
        from bigseg.volumes.image import read_foreground
        from bigseg.volumes.tables import write_table

        box, (path,) = self.grid.box(piece), self.tables(piece)
        values = read_foreground(self.layout, self.time, box, self.grid.shape, self.parameters["map"])
        counted = values > 0
        if self._mask is not None:
            counted &= self._mask.read(self.time, 0, box) != 0
        write_table(path, {"count": count_levels(values[counted])})
        return Outcome(digest_tables([path]))

    def rehash(self, piece: int, record: Record) -> str:
        """The table."""
        return digest_tables(self.tables(piece))

    @cached_property
    def _mask(self) -> Source | None:
        """The mask, opened once per job."""
        return self.open_given("mask")


class SupervoxelsThreshold(WholeStep):
    """Find the threshold of a time point, so that all its blocks have the same."""

    stage, step, version = "supervoxels", "threshold", 1
    passing = ("supervoxels/*/threshold.json",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """How many blocks."""
        return {"blocks": plan.grid.number_of_blocks}

    def needs(self, piece: int) -> list[Need]:
        """All blocks of the time point."""
        return [Need("supervoxels.histogram", range(self.parameters["blocks"]), self.parameters["blocks"])]

    def process(self, piece: int) -> Outcome:
        """Add up and write the threshold, as a value of the map and as a probability, and the share it leaves."""
        import numpy as np

        from bigseg.kernels.foreground import LEVELS, otsu_level
        from bigseg.volumes.tables import read_table

        total = np.zeros(LEVELS, np.uint64)
        for block in range(self.parameters["blocks"]):
            total += read_table(self.layout.table("supervoxels", "histogram", self.time, block))["count"]
        level = otsu_level(total)
        share = float(total[level:].sum() / max(1, total.sum()))
        figures = {"level": level, "probability": level / (LEVELS - 1), "share_above": share}
        write_json(self.layout.foreground_threshold(self.time), figures)
        return Outcome(digest_json(figures), {"threshold": round(level / (LEVELS - 1), 4)})

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the threshold is still what was written."""
        return holds_figures(self.layout.foreground_threshold(self.time), record.digest)

    def rehash(self, piece: int, record: Record) -> str:
        """The threshold."""
        return digest_json(read_figures(self.layout.foreground_threshold(self.time)))
