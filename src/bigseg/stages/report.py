"""Stage ``report``: one HTML page per sample, with pictures beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.layout import MADE_AGAIN
from bigseg.resume.digest import digest_file, digest_json
from bigseg.stages.partition.settings import MULTICUTS
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep, grid_parameters, image_parameters

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class ReportPage(WholeStep):
    """Write the page and the pictures."""

    stage, step, version, per_time = "report", "page", 3, False
    files = ("report.html", "overview.png", "sizes.png")

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """What is shown: the volume and the settings of all stages."""
        from bigseg.stages import find_step, steps_of  # the list of steps includes this one

        settings = config.model_dump(exclude={"samples", "results", "work", "execution"})
        before = [find_step(name) for name in steps_of(config, plan) if not name.startswith("report.")]
        steps = [kind(kind.resolve(config, plan), plan.layout, 0) for kind in before]
        return {
            **grid_parameters(plan),
            **image_parameters(config, plan),
            "channel": config.predict.channel,
            "voxel_size_um": list(plan.voxel_size_um),
            "times": list(plan.times),
            "scored": plan.sample.truth is not None,
            "multicut": config.partition.method in MULTICUTS,
            "seams": plan.grid.number_of_blocks > 1,
            "sample": plan.sample.model_dump(),
            "settings": settings,
            "steps": {step.name: step.number_of_pieces for step in steps},
        }

    def needs(self, piece: int) -> list[Need]:
        """The finished labels, the table of objects, the scores, and what lies on block faces."""
        needed = ["pyramid.metadata", "measure.table"]
        needed += ["evaluate.scores"] if self.parameters["scored"] else []
        needed += ["seams.summary"] if self.parameters["seams"] else []
        quality = [
            Need("partition.quality", [0], time=t) for t in self.parameters["times"] if self.parameters["multicut"]
        ]
        return [*(Need(step, [0]) for step in needed), *quality]

    def process(self, piece: int) -> Outcome:
        """Draw the pictures and write the page."""
        from bigseg.reporting.page import write_report

        write_report(self.layout, self.parameters)
        # The page tells when it was made, so its files are no part of the digest: that must come out the same again.
        written = {name: digest_file(self.layout.result_folder / name) for name in self.files}
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
