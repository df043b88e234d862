"""Scores of the objects, from contingency tables counted block by block."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from bigseg.layout import SCORES
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.resume.files import write_json
from bigseg.stages.evaluate.truth import TruthStep, read_pairs
from bigseg.stages.step import (
    Need,
    Outcome,
    Parameters,
    WholeStep,
    grid_parameters,
)
from bigseg.volumes.figures import holds_figures, read_figures
from bigseg.volumes.signature import files_signature, time_files

if TYPE_CHECKING:
    from pathlib import Path

    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

VERSION = 1


class _Pairs(TruthStep):
    """Count the pairs of labels in a block."""

    stage, version = "evaluate", VERSION
    table: ClassVar[str]
    """Name of the tables that the step writes."""

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Where the truth is."""
        truth = plan.sample.truth
        return {**grid_parameters(plan), "truth": truth.place() if truth else None}

    def tables(self, piece: int) -> list[Path]:
        """The pairs."""
        return [self.layout.table("evaluate", self.table, self.time, piece)]

    def process(self, piece: int) -> Outcome:
        """Count and write the block's table."""
        from bigseg.kernels.contingency import count_pairs
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        box = self.grid.box(piece)
        labels = VolumeArray(self._labels, "tzyx", self.grid.shape).read(self.time, 0, box)
        truth = self._truth.read(self.time, 0, box)
        with self.refusing():
            pairs = count_pairs(labels, truth)
        columns = pairs.columns()
        (path,) = self.tables(piece)
        write_table(path, columns)
        return Outcome(digest_arrays(*columns.values()))

    @property
    @abstractmethod
    def _labels(self) -> Path:
        """The array that is compared with the truth."""


class EvaluateBlocks(_Pairs):
    """Count the pairs of objects and truth in a block."""

    step, table = "blocks", "pairs"

    def needs_within(self, box: Box) -> list[Need]:
        """The labels of the block."""
        return [Need("segment.blocks", self.grid.touching(box), self.grid.number_of_blocks)]

    def empty_with(self, piece: int) -> list[Need]:
        """The labels of the block."""
        return self.needs(piece)

    @property
    def _labels(self) -> Path:
        return self.layout.labels()


class EvaluateOverlaps(_Pairs):
    """Count the pairs of supervoxels and truth in a block.

    With these tables a partition is scored without its labels. No part of the workflow: ``bigseg sweep`` runs it.
    """

    step, table = "overlaps", "overlaps"

    def needs_within(self, box: Box) -> list[Need]:
        """The supervoxels of the block."""
        return [Need("supervoxels.blocks", self.grid.touching(box), self.grid.number_of_blocks)]

    def evidence(self, piece: int) -> str:
        """The state of the files that hold the truth, so that later sweeps need not read it."""
        return self._signature

    def empty_with(self, piece: int) -> list[Need]:
        """The supervoxels of the block."""
        return self.needs(piece)

    def truth_is_empty(self, time: int, box: Box) -> bool:
        """Whether this is known without reading the truth, for the same reason."""
        return self._truth.holds_nothing(time, 0, box)

    @property
    def _labels(self) -> Path:
        return self.layout.supervoxels

    @cached_property
    def _signature(self) -> str:
        return files_signature(time_files(self.user_input("truth"), self.time))


class EvaluateScores(WholeStep):
    """Write ``scores.json``."""

    stage, step, version, per_time = "evaluate", "scores", VERSION, False
    files = (SCORES,)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Time points and what is left out."""
        return {
            "blocks": plan.grid.number_of_blocks,
            "times": list(plan.times),
            "ignore_zero": config.evaluate.ignore_zero,
        }

    def needs(self, piece: int) -> list[Need]:
        """All blocks of all time points."""
        blocks = self.parameters["blocks"]
        return [Need("evaluate.blocks", range(blocks), blocks, time=t) for t in self.parameters["times"]]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the scores are still what was written."""
        return holds_figures(self.layout.scores, record.digest)

    def rehash(self, piece: int, record: Record) -> str:
        """The scores."""
        return digest_json(read_figures(self.layout.scores))

    def process(self, piece: int) -> Outcome:
        """Merge the tables of each time point and score them together."""
        from bigseg.kernels.contingency import merge
        from bigseg.kernels.scores import combine, tally

        blocks = self.parameters["blocks"]
        tallies = (
            tally(merge(read_pairs(self.layout, "pairs", time, blocks)), ignore_zero=self.parameters["ignore_zero"])
            for time in self.parameters["times"]
        )
        found = dict(combine(tallies))
        write_json(self.layout.scores, found)
        return Outcome(digest_json(found))
