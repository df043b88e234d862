"""The stages, one module each, named like the stage; and the list of their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bigseg.config.samples import evidence_roles
from bigseg.errors import UserError
from bigseg.geometry.levels import pyramid_levels
from bigseg.stages.evaluate import EvaluateBlocks, EvaluateOverlaps, EvaluateScores
from bigseg.stages.foreground import SupervoxelsHistogram, SupervoxelsThreshold, needs_threshold
from bigseg.stages.graph import GraphBlocks, GraphEvidence
from bigseg.stages.ingest import IngestBlocks, IngestStatistics
from bigseg.stages.measure import MeasureBlocks, MeasureTable
from bigseg.stages.partition.levels import PartitionRoot, partition_level_named
from bigseg.stages.partition.lifted import PartitionLifted
from bigseg.stages.partition.quality import PartitionEnergy, PartitionQuality
from bigseg.stages.partition.settings import MULTICUTS, number_of_levels
from bigseg.stages.predict import PredictBlocks
from bigseg.stages.pyramid import PyramidMetadata, pyramid_step_named
from bigseg.stages.report import ReportPage, ReportProvenance
from bigseg.stages.seams import SeamsBlocks, SeamsSummary
from bigseg.stages.segment import SegmentBlocks, SegmentContacts, SegmentObjects
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
        SupervoxelsHistogram,
        SupervoxelsThreshold,
        SupervoxelsBlocks,
        GraphBlocks,
        GraphEvidence,
        PartitionLifted,
        PartitionRoot,
        PartitionEnergy,
        PartitionQuality,
        SegmentContacts,
        SegmentObjects,
        SegmentBlocks,
        PyramidMetadata,
        MeasureBlocks,
        MeasureTable,
        EvaluateBlocks,
        EvaluateScores,
        SeamsBlocks,
        SeamsSummary,
        ReportPage,
        ReportProvenance,
    )
}
"""Every step by name, in the order of the workflow, but for the levels of partition and pyramid."""

ASIDE: dict[str, type[Step]] = {"evaluate.overlaps": EvaluateOverlaps}
"""Steps that no workflow runs but a command (``bigseg sweep``)."""

_LEVELS: dict[str, Callable[[str], type[Step] | None]] = {
    "partition": partition_level_named,
    "pyramid": pyramid_step_named,
}


def find_step(name: str) -> type[Step]:
    """The step with a name such as ``supervoxels.blocks`` or ``pyramid.labels2``.

    Raises:
        UserError: there is no such step.
    """
    stage, _, step = name.partition(".")
    found = STEPS.get(name) or ASIDE.get(name)
    if found is None and stage in _LEVELS:
        found = _LEVELS[stage](step)
    if found is None:
        raise UserError(f"{name}: is no step", f"steps are {', '.join(STEPS)}, partition.level0, pyramid.labels1, …")
    return found


_SEGMENTING = (
    *("predict", "supervoxels", "graph", "partition"),
    *("ingest.statistics", "segment.contacts", "segment.objects"),
)
"""Stages and steps that do not run where a sample has a segmentation already."""


def steps_of(config: Config, plan: SamplePlan) -> list[str]:
    """The steps that a sample needs, in order, with the levels of its partition and pyramid."""
    levels = pyramid_levels(plan.grid.shape, plan.voxel_size_um, config.pyramid.smallest)
    names: list[str] = []
    for name in STEPS:
        if plan.sample.segmentation is not None and (name in _SEGMENTING or name.split(".")[0] in _SEGMENTING):
            continue
        if name == "partition.root":
            names += [f"partition.level{n}" for n in range(number_of_levels(config, plan))]
        if name == "pyramid.metadata":
            names += [f"pyramid.{kind}{n}" for n in range(1, len(levels)) for kind in ("image", "labels")]
        if name.startswith("evaluate.") and plan.sample.truth is None:
            continue
        if name.startswith("seams.") and plan.grid.number_of_blocks == 1:
            continue  # a single block has no faces
        if name in ("supervoxels.histogram", "supervoxels.threshold") and not needs_threshold(config, plan):
            continue
        if name in ("graph.evidence", "partition.lifted") and not evidence_roles(plan.sample, config.partition.method):
            continue
        if name in ("partition.energy", "partition.quality") and config.partition.method not in MULTICUTS:
            continue
        names.append(name)
    return names
