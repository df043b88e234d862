"""Stage ``evaluate``: scores against the truth, from contingency tables counted block by block."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.resume.files import write_json
from bigseg.stages.step import Need, Outcome, Parameters, Step, WholeStep, grid_parameters

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.kernels.contingency import Contingency
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source

VERSION = 1


class EvaluateBlocks(Step):
    """Count the pairs of labels in a block."""

    stage, step, version = "evaluate", "blocks", VERSION
    opens = ("_truth",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Where the truth is."""
        truth = plan.sample.truth
        return {**grid_parameters(plan), "truth": truth.model_dump() if truth else None}

    def needs(self, piece: int) -> list[Need]:
        """The labels of the block."""
        return [Need("segment.blocks", [piece], self.grid.number_of_blocks)]

    def evidence(self, piece: int) -> str:
        """The truth in the block."""
        return digest_arrays(self._truth.read(self.time, 0, self.grid.box(piece)))

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the table is still there."""
        return self.layout.table("evaluate", "pairs", self.time, piece).exists()

    def process(self, piece: int) -> Outcome:
        """Count and write the block's table."""
        from bigseg.kernels.contingency import count_pairs
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        box = self.grid.box(piece)
        labels = VolumeArray(self.layout.labels(), "tzyx").read(self.time, 0, box)
        try:
            pairs = count_pairs(labels, self._truth.read(self.time, 0, box))
        except ValueError as error:
            raise UserError(
                f"{self.parameters['truth']['path']}: {error}", "labels are 0 (background) or more"
            ) from error
        columns = {"result": pairs.result, "truth": pairs.truth, "count": pairs.count}
        write_table(self.layout.table("evaluate", "pairs", self.time, piece), columns)
        return Outcome(digest_arrays(*columns.values()))

    @cached_property
    def _truth(self) -> Source:
        """The truth, opened once per job."""
        from bigseg.volumes.source import open_source

        return open_source(Input.model_validate(self.parameters["truth"]))


class EvaluateScores(WholeStep):
    """Write ``scores.json``."""

    stage, step, version, per_time = "evaluate", "scores", VERSION, False
    files = ("scores.json",)

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
        try:
            found = json.loads((self.layout.result_folder / "scores.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return digest_json(found) == record.digest

    def process(self, piece: int) -> Outcome:
        """Merge the tables of each time point and score them together."""
        from bigseg.kernels.contingency import merge
        from bigseg.kernels.scores import combine, tally

        tallies = (
            tally(merge(self._parts(time)), ignore_zero=self.parameters["ignore_zero"])
            for time in self.parameters["times"]
        )
        found = dict(combine(tallies))
        write_json(self.layout.result_folder / "scores.json", found)
        return Outcome(digest_json(found))

    def _parts(self, time: int) -> Iterator[Contingency]:
        from bigseg.kernels.contingency import Contingency
        from bigseg.volumes.tables import read_table

        paths = (self.layout.table("evaluate", "pairs", time, block) for block in range(self.parameters["blocks"]))
        return (Contingency(**read_table(path)) for path in paths)
