"""Stage ``report``: one HTML page per sample, with pictures beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.resume.digest import digest_json
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep, grid_parameters, image_parameters

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

FILES = ("report.html", "overview.png", "sizes.png")
"""What the step writes into the sample's result folder; the rule declares the same files."""


class ReportPage(WholeStep):
    """Write the page and the pictures."""

    stage, step, version, per_time = "report", "page", 1, False

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """What is shown: the volume and the settings of all stages."""
        settings = config.model_dump(exclude={"samples", "results", "work", "execution"})
        return {
            **grid_parameters(plan),
            **image_parameters(config, plan),
            "channel": config.predict.channel,
            "voxel_size_um": list(plan.voxel_size_um),
            "times": list(plan.times),
            "scored": plan.sample.truth is not None,
            "sample": plan.sample.model_dump(),
            "settings": settings,
        }

    def needs(self, piece: int) -> list[Need]:
        """The finished labels, the table of objects and the scores."""
        needed = ["pyramid.metadata", "measure.table", *(["evaluate.scores"] if self.parameters["scored"] else [])]
        return [Need(step, [0]) for step in needed]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether all files are still there; Snakemake removes them before every job that declares them."""
        return all((self.layout.result_folder / name).exists() for name in FILES)

    def process(self, piece: int) -> Outcome:
        """Draw the pictures and write the page."""
        from bigseg.reporting.page import write_report

        write_report(self.layout, self.parameters)
        return Outcome(digest_json(self.parameters))
