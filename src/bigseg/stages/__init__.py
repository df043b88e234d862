"""The stages, one module each, named like the stage; and the list of their steps."""

from __future__ import annotations

from bigseg.errors import UserError
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
