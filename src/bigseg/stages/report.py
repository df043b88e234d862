"""Stage ``report``: one HTML page per sample, with pictures beside it, and where the result comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bigseg.errors import UserError
from bigseg.layout import LINEAGES, MADE_AGAIN, PROVENANCE
from bigseg.resume.digest import digest_file, digest_json
from bigseg.stages.partition.settings import MULTICUTS
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep, grid_parameters, image_parameters
from bigseg.stages.supervoxels.crest import crest_parameters
from bigseg.stages.track.settings import is_tracked

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


_NO_RESULT = {"samples", "results", "work", "execution"}
"""Sections of the configuration on which no result depends, and those of all samples."""


def _settings_used(config: Config, plan: SamplePlan) -> dict[str, Any]:
    """The configuration of the result, with the weight of the crest where that was left to the model."""
    settings = config.model_dump(exclude=_NO_RESULT)
    crest = crest_parameters(config, plan)
    if plan.sample.segmentation is None:
        settings["supervoxels"]["crest"]["weight"] = 0.0 if crest is None else crest["weight"]
    return settings


class ReportPage(WholeStep):
    """Write the page and the pictures."""

    stage, step, version, per_time = "report", "page", 6, False
    files = ("report.html", "overview.png", "sizes.png")

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """What is shown: the volume and the settings of all stages."""
        from bigseg.stages import find_step, steps_of  # the list of steps includes this one

        settings = _settings_used(config, plan)
        before = [find_step(name) for name in steps_of(config, plan) if not name.startswith("report.")]
        steps = [kind(kind.resolve(config, plan), plan.layout, 0) for kind in before]
        return {
            **grid_parameters(plan),
            **image_parameters(config, plan),
            "channel": config.predict.channel,
            "voxel_size_um": list(plan.voxel_size_um),
            "times": list(plan.times),
            "tracked": is_tracked(config, plan),
            "scored": plan.sample.truth is not None,
            "multicut": config.partition.method in MULTICUTS and plan.sample.segmentation is None,
            "seams": plan.grid.number_of_blocks > 1,
            "sample": plan.sample.model_dump(),
            "settings": settings,
            "steps": {step.name: step.number_of_pieces for step in steps},
            **({"skipped": {str(time): why for time, why in plan.skipped.items()}} if plan.skipped else {}),
        }

    def needs(self, piece: int) -> list[Need]:
        """The finished labels, the tables of objects and tracks, the scores, and what lies on block faces."""
        needed = ["pyramid.metadata", "measure.table"]
        needed += ["track.table"] if self.parameters["tracked"] else []
        needed += ["evaluate.scores"] if self.parameters["scored"] else []
        needed += ["evaluate.tracks"] if self.parameters["scored"] and self.parameters["tracked"] else []
        needed += ["seams.summary"] if self.parameters["seams"] else []
        quality = [
            Need("partition.quality", [0], time=t) for t in self.parameters["times"] if self.parameters["multicut"]
        ]
        # the page says only that these files are there
        exports = [Need("track.exports", [0], in_key=False)] if self.parameters["tracked"] else []
        return [*(Need(step, [0]) for step in needed), *exports, *quality]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether all files are there, also the picture that only movies have, which no rule can declare."""
        return all((self.layout.result_folder / name).exists() for name in self._written)

    @property
    def _written(self) -> tuple[str, ...]:
        return (*self.files, LINEAGES) if self.parameters["tracked"] else self.files

    def process(self, piece: int) -> Outcome:
        """Draw the pictures and write the page."""
        from bigseg.reporting.page import write_report

        write_report(self.layout, self.parameters)
        # The page tells when it was made, so its files are no part of the digest: that must come out the same again.
        written = {name: digest_file(self.layout.result_folder / name) for name in self._written}
        return Outcome(digest_json(self.parameters), {"files": written})

    def rehash(self, piece: int, record: Record) -> str:
        """The files, whose fingerprints are in the note."""
        for name, written in record.note.get("files", {}).items():
            path = self.layout.result_folder / name
            try:
                same = digest_file(path) == written
            except OSError as error:
                raise UserError(f"{path}: is missing or cannot be read ({error.strerror})", MADE_AGAIN) from error
            if not same:
                raise UserError(f"{path}: is not what was written", MADE_AGAIN)
        return digest_json(self.parameters)


class ReportProvenance(WholeStep):
    """Write ``provenance.json``."""

    stage, step, version, per_time = "report", "provenance", 1, False
    files = (PROVENANCE,)
    looked_up_by = ("run",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The whole configuration of the sample; how it is run is told as well, but changes nothing."""
        from bigseg.stages import steps_of  # the list of steps includes this one

        return {
            "blocks": plan.grid.number_of_blocks,
            "times": list(plan.times),
            "steps": [name for name in steps_of(config, plan) if not name.startswith("report.")],
            "sample": plan.sample.model_dump(),
            "settings": _settings_used(config, plan),
            "model": None if plan.model is None else plan.model.digest,
            "run": config.model_dump(include=_NO_RESULT - {"samples"}),
        }

    def needs(self, piece: int) -> list[Need]:
        """All results, and the image."""
        steps, times, blocks = self.parameters["steps"], self.parameters["times"], self.parameters["blocks"]
        found = [
            Need(step, range(blocks), blocks, time=t) for t in times for step in ("ingest.blocks", "segment.blocks")
        ]
        found += [Need("partition.quality", [0], time=t) for t in times if "partition.quality" in steps]
        tracks, scores = ("track.table", "track.exports"), ("evaluate.scores", "evaluate.tracks", "seams.summary")
        last = ("pyramid.metadata", "measure.table", *tracks, *scores)
        return [*found, *(Need(step, [0]) for step in last if step in steps)]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the file still tells what was written."""
        try:
            return self.rehash(piece, record) == record.digest
        except UserError:
            return False

    def rehash(self, piece: int, record: Record) -> str:
        """What the file tells."""
        from bigseg.reporting.provenance import digest_provenance

        path = self.layout.provenance
        try:
            return digest_provenance(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: is missing or damaged ({error})", MADE_AGAIN) from error

    def process(self, piece: int) -> Outcome:
        """Gather and write."""
        from bigseg.reporting.provenance import write_provenance

        return Outcome(write_provenance(self.layout, self.parameters))
