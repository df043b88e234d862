"""The stages, one module each, named like the stage; and the list of their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.geometry.levels import pyramid_levels
from bigseg.stages.evaluate import EvaluateBlocks, EvaluateScores
from bigseg.stages.graph import GraphBlocks
from bigseg.stages.ingest import IngestBlocks, IngestStatistics
from bigseg.stages.measure import MeasureBlocks, MeasureTable
from bigseg.stages.partition import PartitionRoot
from bigseg.stages.predict import PredictBlocks
from bigseg.stages.pyramid import PyramidMetadata, pyramid_step_named
from bigseg.stages.report import ReportPage
from bigseg.stages.segment import SegmentBlocks, SegmentObjects
from bigseg.stages.step import Step
from bigseg.stages.supervoxels import SupervoxelsBlocks

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan

STEPS: dict[str, type[Step]] = {
    f"{step.stage}.{step.step}": step
    for step in (
        IngestBlocks,
        IngestStatistics,
        PredictBlocks,
        SupervoxelsBlocks,
        GraphBlocks,
        PartitionRoot,
        SegmentObjects,
        SegmentBlocks,
        PyramidMetadata,
        MeasureBlocks,
        MeasureTable,
        EvaluateBlocks,
        EvaluateScores,
        ReportPage,
    )
}
"""Every step by name, in the order of the workflow, but for the levels of the pyramid, which depend on the volume."""


def find_step(name: str) -> type[Step]:
    """The step with a name such as ``supervoxels.blocks`` or ``pyramid.labels2``.

    Raises:
        UserError: there is no such step.
    """
    stage, _, step = name.partition(".")
    found = STEPS.get(name) or (pyramid_step_named(step) if stage == "pyramid" else None)
    if found is None:
        raise UserError(f"{name}: is no step", f"steps are {', '.join(STEPS)}, pyramid.image1, pyramid.labels1, …")
    return found


def steps_of(config: Config, plan: SamplePlan) -> list[str]:
    """The steps that a sample needs, in order, with the levels of its pyramid."""
    levels = pyramid_levels(plan.grid.shape, plan.voxel_size_um, config.pyramid.smallest)
    names: list[str] = []
    for name in STEPS:
        if name == "pyramid.metadata":
            names += [f"pyramid.{kind}{n}" for n in range(1, len(levels)) for kind in ("image", "labels")]
        if not name.startswith("evaluate.") or plan.sample.truth is not None:
            names.append(name)
    return names
