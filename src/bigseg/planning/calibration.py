"""What a voxel costs: CPU time and bytes on disk per step, measured on a crop or supposed; planning only reads it.

The measuring itself (:mod:`bigseg.calibrate`) takes the kernels; this module takes nothing but JSON.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from bigseg import __version__
from bigseg.config.samples import ROLES
from bigseg.layout import Layout
from bigseg.resume.digest import digest_json
from bigseg.resume.files import write_json

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan

BYTES_PER_FILE = 3000
"""What a small table takes on disk whatever it holds."""


class Calibration(BaseModel):
    """What a voxel costs.

    Attributes:
        identity: fingerprint of what was measured; empty where nothing was.
        seconds_per_mvox: CPU seconds by step (``supervoxels.blocks``) for a million voxels that it reads, its halo
            included; ``pyramid.image`` and ``pyramid.labels`` for a million voxels of the level that is made.
        bytes_per_voxel: on disk, by what is stored: ``image`` (its copy, per byte of its type), ``maps`` of stage
            ``predict``, ``supervoxels``, ``labels``, and ``tables`` of blocks.
        device: what a network ran on: ``cpu`` or ``cuda``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    seconds_per_mvox: dict[str, float]
    bytes_per_voxel: dict[str, float]
    device: str = "cpu"


SUPPOSED = Calibration(
    identity="",
    seconds_per_mvox={
        "ingest.blocks": 0.04,
        "predict.blocks": 0.06,
        "supervoxels.histogram": 0.01,
        "supervoxels.blocks": 0.3,
        "graph.blocks": 0.1,
        "graph.evidence": 0.15,
        "partition.lifted": 0.05,
        "partition.root": 0.05,
        "partition.energy": 0.05,
        "segment.contacts": 0.02,
        "segment.blocks": 0.07,
        "pyramid.image": 0.3,
        "pyramid.labels": 0.4,
        "pyramid.tracks": 0.4,
        "measure.blocks": 0.07,
        "track.overlaps": 0.05,
        "track.contacts": 0.02,
        "track.blocks": 0.07,
        "evaluate.blocks": 0.1,
        "evaluate.track_overlaps": 0.2,
        "seams.blocks": 0.1,
    },
    bytes_per_voxel={
        "image": 0.8,
        "maps": 0.6,
        "supervoxels": 0.3,
        "labels": 0.1,
        "tables": 0.1,
    },
)
"""Of a clear membrane stain on one core of 2020; a byte of the image per byte of its type."""


def calibration_identity(config: Config, plan: SamplePlan) -> str:
    """Fingerprint of whatever the costs of a voxel depend on: settings, inputs, model and version of bigseg."""
    settings = config.model_dump(include={"predict", "supervoxels", "graph", "partition", "segment"})
    spec = {role: None if (used := getattr(plan.sample, role)) is None else used.model_dump() for role in ROLES}
    model = None if plan.model is None else plan.model.digest
    return digest_json([__version__, settings, spec, plan.header.dtype, model, config.execution.device])


def read_calibration(layout: Layout, identity: str) -> Calibration | None:
    """The stored calibration, None where there is none or it is of something else."""
    try:
        found = Calibration.model_validate_json(calibration_path(layout).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.identity == identity else None


def write_calibration(layout: Layout, found: Calibration) -> None:
    """Store a calibration with the sample's intermediates."""
    write_json(calibration_path(layout), found.model_dump())


def calibration_path(layout: Layout) -> Path:
    """Where the calibration of a sample is stored."""
    return layout.folder / "calibration.json"


def cost_name(step: str) -> str:
    """The name under which a step's cost is kept; levels of the pyramid share one, as do those of the partition."""
    return re.sub(r"^partition\.level\d+$", "partition.root", re.sub(r"^(pyramid\.[a-z]+)\d+$", r"\1", step))
