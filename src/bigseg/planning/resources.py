"""Memory and run time that a job asks the cluster for, from the size of its blocks."""

from __future__ import annotations

from math import prod

from bigseg.geometry.box import triple
from bigseg.networks.tiling import patch_shape
from bigseg.planning.headers import ROLES
from bigseg.planning.sample import SamplePlan
from bigseg.stages.predict_network import read_tiling
from bigseg.stages.step import Step

_BASE_MB = 250
"""The interpreter with its libraries takes about 140 MB."""

_BYTES_PER_VOXEL = {
    "ingest": 24,
    "predict": 30,
    "supervoxels": 36,
    "graph": 48,
    "segment": 48,
    "pyramid": 120,
    "measure": 56,
    "evaluate": 64,
}
"""Peak bytes per voxel of a block with its halo, measured by ``make bench-memory`` and rounded up. A block of the
pyramid is made from up to eight blocks of the level before."""

_READER_MB = 350
"""Decoded pieces of a user's file (TIFF, HDF5) that are kept in memory."""

_WHOLE_MB = {"ingest.statistics": 100, "pyramid.metadata": 50, "report.page": 400}
"""Steps of a single piece whose memory does not depend on the volume."""

_VOXELS_PER_SUPERVOXEL = 500
_BYTES_PER_SUPERVOXEL = 4000
_VOXELS_PER_OBJECT = 2000
_BYTES_PER_OBJECT = 1000
"""Supposed for steps that hold the whole graph, or all objects; the partition of a noisy image may need more, and gets
it with the second attempt."""

_VOXELS_PER_MINUTE = 30_000_000
"""Half of what the slowest stage does on one slow core."""

_NETWORK_MB = 900
"""Torch or ONNX Runtime with a network."""

_NETWORK_VOXELS_PER_MINUTE = 1_500_000
"""What a U-Net of 16 feature maps does on one slow core."""


def memory_mb(plan: SamplePlan, step: Step, threads: int, attempt: int) -> int:
    """Memory in MB for a job of a step; doubled with every attempt after a failure."""
    voxels = prod(plan.grid.shape)
    if step.in_batches:
        halo = step.parameters.get("halo", (0, 0, 0))
        outer = prod(min(n, b + 2 * h) for n, b, h in zip(plan.grid.shape, plan.grid.block_shape, halo, strict=True))
        if step.parameters.get("method") == "network":
            need = _network_mb(plan, step, outer)
        else:
            need = _BYTES_PER_VOXEL[step.stage] * outer * threads // 1_000_000
        if step.opens and any(step.parameters.get(role) for role in ROLES):
            need += _READER_MB
    elif step.name in _WHOLE_MB:
        need = _WHOLE_MB[step.name]
    elif step.name == "partition.root":
        need = voxels // _VOXELS_PER_SUPERVOXEL * _BYTES_PER_SUPERVOXEL // 1_000_000
    else:
        need = voxels // _VOXELS_PER_OBJECT * _BYTES_PER_OBJECT * (1 if step.per_time else len(plan.times)) // 1_000_000
    return (_BASE_MB + need) << (attempt - 1)


def _network_mb(plan: SamplePlan, step: Step, outer: int) -> int:
    """The network, its layers on a patch, and the blocks in hand."""
    parameters = step.parameters
    layers = 1000 * plan.machine.network_memory_gb
    if parameters["core"] is not None and plan.model is not None:
        shape = patch_shape(read_tiling(parameters), triple(parameters["core"]))
        layers = max(layers, prod(shape) * plan.model.bytes_per_voxel / 1e6)
    per_voxel = 9 * len(parameters["channels"]) + 6 * len(parameters["roles"])
    return _NETWORK_MB + int(layers) + step.workers(1) * outer * per_voxel // 1_000_000


def runtime_minutes(plan: SamplePlan, step: Step, blocks: int, threads: int, attempt: int) -> int:
    """Run time in minutes for a job over a number of blocks; doubled with every attempt after a failure."""
    rate = _VOXELS_PER_MINUTE
    if step.parameters.get("method") == "network":
        rate = _NETWORK_VOXELS_PER_MINUTE * threads
    return int((10 + blocks * prod(plan.grid.block_shape) // rate) << (attempt - 1))
