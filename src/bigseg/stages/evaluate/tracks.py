"""Scores of the tracks of a whole movie, from contingency tables counted block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigseg.errors import UserError
from bigseg.layout import TRACKING_SCORES
from bigseg.resume.digest import digest_arrays, digest_file, digest_json
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

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.kernels.derived_lineage import Places
    from bigseg.kernels.lineage import Lineage
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

VERSION = 1
_PAIRS, _LINKS, _PLACES = "track_pairs", "truth_links", "truth_places"
"""Tables: voxels that tracks and truth share, that the truth shares with itself one time point before, and where the
objects of the truth are. The last two are there only where divisions of the truth have to be found."""


class EvaluateTrackOverlaps(TruthStep):
    """Count the pairs of tracks and truth in a block, and what tells which true tracks divide."""

    stage, step, version = "evaluate", "track_overlaps", VERSION
    looked_up_by = ("times",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Where the truth is, and whether nothing tells its lineage; the time points tell which one is before."""
        truth = plan.sample.truth
        return {
            **grid_parameters(plan),
            "truth": truth.place() if truth else None,
            "derive": plan.sample.truth_lineage is None,
            "times": list(plan.times),
        }

    def needs_within(self, box: Box) -> list[Need]:
        """The tracks of the block."""
        return [Need("track.blocks", self.grid.touching(box), self.grid.number_of_blocks)]

    @property
    def truth_times(self) -> list[int]:
        """The time point, and the one before where the truth is looked at there."""
        return [self.time] if self._before is None else [self.time, self._before]

    def empty_with(self, piece: int) -> list[Need]:
        """The tracks of the block."""
        return self.needs(piece)

    def tables(self, piece: int) -> list[Path]:
        """The pairs, and what divisions of the truth are found by."""
        names = (_PAIRS, _LINKS, _PLACES) if self.parameters["derive"] else (_PAIRS,)
        return [self.layout.table("evaluate", name, self.time, piece) for name in names]

    def process(self, piece: int) -> Outcome:
        """Count and write the block's tables."""
        from bigseg.kernels.contingency import count_pairs
        from bigseg.kernels.derived_lineage import find_places
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        box = self.grid.box(piece)
        tracks = VolumeArray(self.layout.tracks(), "tzyx", self.grid.shape).read(self.time, 0, box)
        truth = self._truth.read(self.time, 0, box)
        with self.refusing():
            tables = [count_pairs(tracks, truth).columns()]
            if self.parameters["derive"]:
                before = truth if self._before is None else self._truth.read(self._before, 0, box)
                places = find_places(truth, box.begin)
                sums = dict(zip(("sum_z", "sum_y", "sum_x"), places.sums.T, strict=True))
                tables += [
                    count_pairs(before, truth).columns(),
                    {"label": places.label, "voxels": places.voxels, **sums},
                ]
        for path, columns in zip(self.tables(piece), tables, strict=True):
            write_table(path, columns)
        return Outcome(digest_arrays(*(column for columns in tables for column in columns.values())))

    @property
    def _before(self) -> int | None:
        """The time point that is processed before, where it is looked at."""
        earlier = [time for time in self.parameters["times"] if time < self.time]
        return max(earlier) if earlier and self.parameters["derive"] else None


class EvaluateTracks(WholeStep):
    """Write ``tracking_scores.json``."""

    stage, step, version, per_time = "evaluate", "tracks", VERSION, False
    files = (TRACKING_SCORES,)
    looked_up_by = ("truth_lineage",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Time points, and what divisions of the truth are found by or where they are told."""
        return {
            "blocks": plan.grid.number_of_blocks,
            "times": list(plan.times),
            "voxel_size_um": list(plan.voxel_size_um),
            "plane": plan.grid.shape[0] == 1,
            "derive": plan.sample.truth_lineage is None,
            "truth_lineage": plan.sample.truth_lineage,
        }

    def needs(self, piece: int) -> list[Need]:
        """All blocks of all time points, and the table of tracks."""
        blocks = self.parameters["blocks"]
        overlaps = [Need("evaluate.track_overlaps", range(blocks), blocks, time=t) for t in self.parameters["times"]]
        return [*overlaps, Need("track.table", [0])]

    def evidence(self, piece: int) -> str:
        """The file of the true lineage, whatever it is called."""
        path = self.parameters["truth_lineage"]
        if path is None:
            return ""
        try:
            return digest_file(Path(path))
        except OSError as error:
            raise UserError(
                f"samples.{self.layout.sample}.truth_lineage: {path} cannot be read ({error.strerror})",
                "correct the path",
            ) from error

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the scores are still what was written."""
        return holds_figures(self.layout.tracking_scores, record.digest)

    def rehash(self, piece: int, record: Record) -> str:
        """The scores."""
        return digest_json(read_figures(self.layout.tracking_scores))

    def process(self, piece: int) -> Outcome:
        """Merge the tables of each time point and score them together."""
        from bigseg.kernels.contingency import merge
        from bigseg.kernels.lineage import restrict
        from bigseg.kernels.tracking_scores import TrackingTally
        from bigseg.tracks.table import lineage_of, read_tracks

        tally = TrackingTally()
        for time in self.parameters["times"]:
            tally.add(time, merge(read_pairs(self.layout, _PAIRS, time, self.parameters["blocks"])))
        table = self.layout.track_table
        told = {"result": lineage_of(read_tracks(table)), "truth": self._true_lineage()}
        lineages = []
        for (name, lineage), seen in zip(told.items(), tally.seen(), strict=True):
            try:
                # Only what is seen at the time points of this run counts.
                lineages.append(restrict(lineage, seen))
            except ValueError as error:
                where = self.parameters["truth_lineage"] if name == "truth" else table
                raise UserError(
                    f"{where}: does not fit the labels of the {name}: {error}",
                    "a label is one track over time, and the lineage names every one",
                ) from error
        found: dict[str, Any] = {"tracking": dict(tally.scores(*lineages))}
        write_json(self.layout.tracking_scores, found)
        return Outcome(digest_json(found))

    def _true_lineage(self) -> Lineage:
        """As it is told, or as the labels show it."""
        from bigseg.kernels.contingency import merge
        from bigseg.kernels.derived_lineage import LineageFinder, merge_places
        from bigseg.tracks.ctc import read_lineage

        if not self.parameters["derive"]:
            return read_lineage(Path(self.parameters["truth_lineage"]), f"samples.{self.layout.sample}.truth_lineage")
        z, y, x = self.parameters["voxel_size_um"]
        finder = LineageFinder((z, y, x), plane=self.parameters["plane"])
        for time in self.parameters["times"]:
            places = merge_places(self._places(time))
            finder.add(time, places, merge(read_pairs(self.layout, _LINKS, time, self.parameters["blocks"])))
        return finder.lineage()

    def _places(self, time: int) -> Iterator[Places]:
        """Where the objects of the truth are at a time point, block by block."""
        import numpy as np

        from bigseg.kernels.derived_lineage import Places
        from bigseg.volumes.tables import read_table

        for block in range(self.parameters["blocks"]):
            table = read_table(self.layout.table("evaluate", _PLACES, time, block))
            sums = np.stack([table[f"sum_{axis}"] for axis in "zyx"], axis=1)
            yield Places(table["label"], table["voxels"], sums)
