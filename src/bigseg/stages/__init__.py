"""The stages, one module or package each, named like the stage; and the list of their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bigseg.config.samples import evidence_roles
from bigseg.errors import UserError
from bigseg.geometry.levels import pyramid_levels
from bigseg.stages.evaluate.objects import EvaluateBlocks, EvaluateOverlaps, EvaluateScores
from bigseg.stages.evaluate.tracks import EvaluateTrackOverlaps, EvaluateTracks
from bigseg.stages.graph import GraphBlocks, GraphEvidence
from bigseg.stages.ingest import IngestBlocks, IngestStatistics
from bigseg.stages.measure import MeasureBlocks, MeasureTable
from bigseg.stages.partition.levels import PartitionRoot, partition_level_named
from bigseg.stages.partition.lifted import PartitionLifted
from bigseg.stages.partition.quality import PartitionEnergy, PartitionQuality
from bigseg.stages.partition.settings import MULTICUTS, number_of_levels
from bigseg.stages.predict.blocks import PredictBlocks
from bigseg.stages.pyramid import PyramidMetadata, pyramid_step_named
from bigseg.stages.report import ReportPage, ReportProvenance
from bigseg.stages.seams import SeamsBlocks, SeamsSummary
from bigseg.stages.segment import SegmentBlocks, SegmentContacts, SegmentObjects
from bigseg.stages.step import Step
from bigseg.stages.supervoxels.blocks import SupervoxelsBlocks
from bigseg.stages.supervoxels.foreground import SupervoxelsHistogram, SupervoxelsThreshold
from bigseg.stages.supervoxels.settings import needs_threshold
from bigseg.stages.track.blocks import TrackBlocks
from bigseg.stages.track.contacts import TrackContacts
from bigseg.stages.track.detections import TrackDetections
from bigseg.stages.track.drift import TrackDrift
from bigseg.stages.track.exports import TrackExports
from bigseg.stages.track.lineages import TrackLineages
from bigseg.stages.track.links import TrackLinks
from bigseg.stages.track.overlaps import TrackOverlaps
from bigseg.stages.track.settings import NESTED, OF_FRAGMENTS, is_tracked
from bigseg.stages.track.table import TrackTable
from bigseg.stages.track.windows import TrackJunctions, TrackWindows, number_of_junctions

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
        MeasureBlocks,
        MeasureTable,
        TrackDrift,
        TrackOverlaps,
        TrackContacts,
        TrackDetections,
        TrackLinks,
        TrackWindows,
        TrackJunctions,
        TrackLineages,
        TrackTable,
        TrackExports,
        TrackBlocks,
        PyramidMetadata,
        EvaluateBlocks,
        EvaluateScores,
        EvaluateTrackOverlaps,
        EvaluateTracks,
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
    coarser = range(1, len(levels))
    names: list[str] = []
    for name in STEPS:
        if plan.sample.segmentation is not None and (name in _SEGMENTING or name.split(".")[0] in _SEGMENTING):
            continue
        if name == "partition.root":
            names += [f"partition.level{n}" for n in range(number_of_levels(config, plan))]
        if name == "measure.blocks":
            names += [f"pyramid.{kind}{n}" for n in coarser for kind in ("image", "labels")]
        if name == "pyramid.metadata" and is_tracked(config, plan):
            names += [f"pyramid.tracks{n}" for n in coarser]
        if _is_needed(name, config, plan):
            names.append(name)
    return names


def _is_needed(name: str, config: Config, plan: SamplePlan) -> bool:
    """Whether a sample needs a step."""
    method = config.partition.method
    match name.partition("."):
        case "evaluate", _, "track_overlaps" | "tracks":
            return plan.sample.truth is not None and is_tracked(config, plan)
        case "evaluate", _, _:
            return plan.sample.truth is not None
        case "seams", _, _:
            return plan.grid.number_of_blocks > 1  # a single block has no faces
        case "supervoxels", _, "histogram" | "threshold":
            return needs_threshold(config, plan)
        case ("graph", _, "evidence") | ("partition", _, "lifted"):
            return bool(evidence_roles(plan.sample, method))
        case "partition", _, "energy" | "quality":
            return method in MULTICUTS
        case "track", _, step:
            return is_tracked(config, plan) and _is_needed_to_track(step, config, plan)
        case _:
            return True


def _is_needed_to_track(step: str, config: Config, plan: SamplePlan) -> bool:
    method = config.track.method
    match step:
        case "drift":
            return config.track.drift
        case "contacts":
            return method in OF_FRAGMENTS
        case "junctions":
            return method in NESTED and number_of_junctions(config, plan) > 0
        case "windows":
            return method in NESTED
        case "links" | "lineages":
            return method != "volume"
        case _:
            return True
