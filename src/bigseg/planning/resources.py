"""Memory and run time that a job asks the cluster for, from the size of its blocks."""

from __future__ import annotations

from functools import cache
from math import prod

from bigseg.config.samples import Input
from bigseg.geometry.box import triple
from bigseg.networks.tiling import patch_shape
from bigseg.planning.sample import SamplePlan
from bigseg.stages.partition.levels import PartitionLevel
from bigseg.stages.partition.quality import IN_CORE_EDGES
from bigseg.stages.partition.settings import LEFT_TO_NEXT_LEVEL, MULTICUTS
from bigseg.stages.predict.network import read_tiling
from bigseg.stages.step import Step
from bigseg.stages.track.windows import TrackJunctions, TrackWindows
from bigseg.volumes.location import locate

SNAKEMAKE_MB = 350
"""A job on a cluster holds two processes of Snakemake of 165 MB each: the one that was submitted, and the one that it
starts by ``srun``."""

_BASE_MB = 250
"""The interpreter with its libraries takes about 140 MB on blocks; each thread keeps some of what it freed."""

_PARTITION_MB = 300
"""The same for the partition, which loads solvers as well."""

_QUALITY_MB = 260
"""The same for the comparison with a solve in core, which loads solvers only where the graph is small enough."""

_TABLES_MB = 230
"""The same for a step of a single piece, which reads tables with one thread."""

_BYTES_PER_VOXEL = {
    "ingest": 24,
    "predict": 30,
    "supervoxels.histogram": 24,
    "supervoxels": 36,
    "graph": 48,
    "partition.lifted": 48,
    "partition.energy": 24,
    "segment": 48,
    "pyramid": 90,
    "measure": 56,
    "track": 64,
    "evaluate": 64,
    "seams": 56,
}
"""Peak bytes per voxel of a block with its halo, measured by ``make bench-memory`` and rounded up. A block of the
pyramid is made from up to eight blocks of the level before; lifted edges are found in the tables of 27 blocks."""

_FOREGROUND_BYTES_PER_VOXEL = 10
"""Of a block with its halo and the window of the local mean: the map, running sums, and sums."""

_CREST_BYTES_PER_VOXEL = 36
"""Of supervoxels whose boundaries are drawn on the crest of the image, on top: the image, and the second flooding."""

_READER_MB = 300
"""Decoded pieces of a TIFF or HDF5 that are kept in memory (:data:`bigseg.volumes.cache.CACHE_BYTES`) and in hand."""

_READER_BYTES_PER_VOXEL = 8
"""Of a small file, which fits into that memory; its type is known for the image alone."""

_WHOLE_MB = {
    "ingest.statistics": 260,
    "supervoxels.threshold": 150,
    "pyramid.metadata": 150,
    "report.page": 650,
    "report.provenance": 150,
}
"""Steps of a single piece whose memory does not depend on the volume, the interpreter included."""

_VOXELS_PER_SUPERVOXEL = 1200
_VOXELS_PER_OBJECT = 2000
_BYTES_PER_OBJECT = 1000
"""Supposed for steps that hold the whole graph, or all objects; the partition of a noisy image may need more, and gets
it with the second attempt."""

_BYTES_PER_OBJECT_IN_CONTACT = 2000
"""Where every contact of an object is held, of one time point after the other; measured, with two parts being added."""

_TRACKING_MB = 150
"""What the solver of integer programs needs to be there."""

_BYTES_PER_DETECTION = {
    "track.table": 300,
    "track.lineages": 300,
    "track.exports": 600,
    "track.windows": 20_000,
    "track.junctions": 20_000,
}
"""Of an object at each time point that is in memory: tables of tracks alone, files for other programs (measured with a
million: 0.47 kB), or nested candidates with the program of a window (measured with 34,000: 12 kB for each candidate,
and nearly two candidates for each object)."""

_BYTES_PER_LINK = 4000
"""Of an object at two time points with its candidate events, which a pair is solved with; ``make bench-track``."""

_BYTES_IN_SPACE_TIME = 2500
"""Of an object at each time point with its contacts and overlaps, in one graph of all (measured: 1.1 kB, without the
tables that it is made from)."""

_BYTES_PER_SUPERVOXEL = {True: 5000, False: 1200}
"""Of a solve with all its edges, of a multicut or not: measured by ``make bench-partition`` (3.6 and 0.7 kB)."""

_LIFTED_BELOW, _LIFTED_AT_ROOT = 1.5, 3.0
"""Times as much for a lifted multicut: lifted edges that end at one cluster are not as many fewer."""

_EDGES_PER_SUPERVOXEL = 5
_BYTES_PER_EDGE = 700
"""Of the multicut that is solved in core as well, to compare energies; measured."""

_FEWER_EDGES = 20
"""Times fewer edges than is supposed here that a graph may have; of a smooth tissue it is 16."""


_DETECTIONS_PER_MINUTE = 150_000
"""Linked, chosen and painted with their tracks: ``make bench-track`` (2 million in 6 minutes of two slow cores)."""

_VOXELS_PER_MINUTE = 30_000_000
"""Half of what the slowest stage does on one slow core."""

_BLOCKS_PER_MINUTE = 2_000
"""Whose tables a step of a single piece reads: 30 ms for those of a block, on a slow disk."""

_SOLVED_VOXELS_PER_MINUTE = {True: 300_000_000, False: 1_500_000_000}
"""Of a volume whose supervoxels are solved in one piece, of a multicut or not: half of what ``make bench-partition``
measures (43 s for a million supervoxels, and 17 s for four), supervoxels being as small as is supposed here."""

_VOXELS_OF_OBJECTS_PER_MINUTE = 2_000_000_000
"""Of a volume whose objects, a million a minute, are added up or decided on."""

_NETWORK_MB = 900
"""Torch or ONNX Runtime with a network."""

_NETWORK_VOXELS_PER_MINUTE = 1_500_000
"""What a U-Net of 16 feature maps does on one slow core."""


_TRAINING_MB = 16_000
"""Torch with batches, their layers and gradients, and patches that are made ready: more than all trainings in the docs
take. Of a volume no more than a patch is in memory."""

_TRAINING_MINUTES = 24 * 60
"""What most clusters allow; a training that it ends goes on after its last whole epoch."""


def training_memory_mb(attempt: int) -> int:
    """Memory in MB for a training; doubled with every attempt after a failure."""
    return _TRAINING_MB << (attempt - 1)


def training_minutes() -> int:
    """Run time in minutes for a training."""
    return _TRAINING_MINUTES


def memory_mb(plan: SamplePlan, step: Step, threads: int, attempt: int) -> int:
    """Memory in MB for a job of a step; doubled with every attempt after a failure."""
    voxels = prod(plan.grid.shape)
    if isinstance(step, PartitionLevel):
        need = _superblock_mb(plan, step) * threads
        if step.parameters["method"] == "lifted_multicut":
            need = int(_LIFTED_BELOW * need)
    elif _is_of_objects(step):
        need = _track_mb(plan, step)
    elif step.in_batches:
        halo = step.parameters.get("halo", (0, 0, 0))
        outer = prod(min(n, b + 2 * h) for n, b, h in zip(plan.grid.shape, plan.grid.block_shape, halo, strict=True))
        if step.parameters.get("method") == "network":
            need = _network_mb(plan, step, outer)
        else:
            per_voxel = _BYTES_PER_VOXEL.get(step.name) or _BYTES_PER_VOXEL[step.stage]
            per_voxel += _CREST_BYTES_PER_VOXEL * ("crest" in step.parameters)
            need = (per_voxel * outer + _foreground_bytes(plan, step)) * threads // 1_000_000
        need += sum(_reader_mb(plan, role) for role in _opened(step))
    elif step.name in _WHOLE_MB:
        return (SNAKEMAKE_MB + _WHOLE_MB[step.name]) << (attempt - 1)
    elif step.name == "partition.root":
        levels = step.parameters["levels"]
        need = _solve_mb(voxels, levels, step)
        if step.parameters["method"] == "lifted_multicut":
            need = int(_LIFTED_AT_ROOT * need)
    elif step.name == "partition.quality":
        need = _solve_again_mb(voxels, step)
    elif step.name == "seams.summary":
        need = voxels // _VOXELS_PER_OBJECT * _BYTES_PER_OBJECT_IN_CONTACT // 1_000_000
    else:
        need = voxels // _VOXELS_PER_OBJECT * _BYTES_PER_OBJECT * (1 if step.per_time else len(plan.times)) // 1_000_000
    return (SNAKEMAKE_MB + _base_mb(step) + need) << (attempt - 1)


def _base_mb(step: Step) -> int:
    """What a process needs to be there."""
    if step.name == "partition.quality":
        return _QUALITY_MB
    return _PARTITION_MB if step.stage == "partition" else _BASE_MB if step.in_batches else _TABLES_MB


def _opened(step: Step) -> list[str]:
    """The roles of the user's volumes that a step reads, told by the names of the properties that open them."""
    named = {"source": "input", "given": "segmentation"}
    roles = [named.get(name.removeprefix("_"), name.removeprefix("_")) for name in step.opens]
    return [role for role in roles if step.parameters.get(role)]


def _reader_mb(plan: SamplePlan, role: str) -> int:
    """What a reader keeps in memory of a volume: chunks of a Zarr are read as they are needed, other files in part."""
    spec: Input | None = getattr(plan.sample, role)
    if spec is None or _is_zarr(spec.path, spec.key):
        return 0
    return min(_READER_MB, _READER_BYTES_PER_VOXEL * prod(plan.grid.shape) // 1_000_000)


@cache
def _is_zarr(path: str, key: str | None) -> bool:
    """Whether an input is a Zarr; asked for every job."""
    return locate(Input(path=path, key=key)).kind == "zarr"


def _is_of_objects(step: Step) -> bool:
    """Whether a step of tracking holds all objects of time points, not the voxels of a block."""
    return step.stage == "track" and not (step.in_batches and step.per_time)


def _detections(plan: SamplePlan, step: Step) -> int:
    """Objects of the time points that a piece of a step of tracking holds at once."""
    times = 2 if step.per_time else len(plan.times)
    if isinstance(step, (TrackWindows, TrackJunctions)):
        times = max((len(step.seen(piece)) for piece in range(step.number_of_pieces)), default=0)
    return times * (prod(plan.grid.shape) // _VOXELS_PER_OBJECT)


def _track_mb(plan: SamplePlan, step: Step) -> int:
    """All objects of the time points that are in memory at once, with their candidate events."""
    each = _BYTES_PER_DETECTION.get(step.name, _BYTES_PER_LINK)
    if step.name == "track.table" and "volume" in step.parameters:
        each = _BYTES_IN_SPACE_TIME
    return int(_TRACKING_MB + _detections(plan, step) * each // 1_000_000)


def _foreground_bytes(plan: SamplePlan, step: Step) -> int:
    """What the local mean of the foreground takes."""
    foreground = step.parameters.get("foreground")
    if foreground is None:
        return 0
    reach = [h + w for h, w in zip(step.parameters["halo"], foreground["window"], strict=True)]
    wide = prod(min(n, b + 2 * r) for n, b, r in zip(plan.grid.shape, plan.grid.block_shape, reach, strict=True))
    return _FOREGROUND_BYTES_PER_VOXEL * wide


def _superblock_mb(plan: SamplePlan, step: PartitionLevel) -> int:
    """A superblock with what it reads around it."""
    voxels = step.superblocks_read * 8**step.level * prod(plan.grid.block_shape)
    return _solve_mb(min(prod(plan.grid.shape), voxels), step.level, step)


def _solve_mb(voxels: int, level: int, step: Step) -> int:
    per_supervoxel = _BYTES_PER_SUPERVOXEL[step.parameters["method"] in MULTICUTS]
    return int(voxels / _VOXELS_PER_SUPERVOXEL * LEFT_TO_NEXT_LEVEL**level * per_supervoxel / 1_000_000)


def _solve_again_mb(voxels: int, step: Step) -> int:
    """A solve in core for comparison, where there were levels and the graph may be small enough for it."""
    edges = voxels // _VOXELS_PER_SUPERVOXEL * _EDGES_PER_SUPERVOXEL
    if step.parameters["levels"] == 0 or edges > _FEWER_EDGES * IN_CORE_EDGES:
        return 0
    if step.parameters["method"] == "lifted_multicut":
        edges = int(_LIFTED_AT_ROOT * edges)
    return min(edges, IN_CORE_EDGES) * _BYTES_PER_EDGE // 1_000_000


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
    """Run time in minutes for a job over a number of blocks, or all of them; doubled with every further attempt."""
    if _is_of_objects(step):
        need = (blocks if step.in_batches else 1) * _detections(plan, step) // _DETECTIONS_PER_MINUTE
    elif isinstance(step, PartitionLevel):
        voxels = min(prod(plan.grid.shape), blocks * 8**step.level * prod(plan.grid.block_shape))
        need = int(LEFT_TO_NEXT_LEVEL**step.level * voxels / _VOXELS_PER_MINUTE)
    elif step.in_batches:
        rate = _VOXELS_PER_MINUTE
        if step.name == "predict.blocks" and step.parameters["method"] == "network":
            rate = _NETWORK_VOXELS_PER_MINUTE * threads
        need = blocks * prod(plan.grid.block_shape) // rate
    else:
        times = 1 if step.per_time else len(plan.times)
        voxels = times * prod(plan.grid.shape)
        need = times * plan.grid.number_of_blocks // _BLOCKS_PER_MINUTE
        if step.name == "partition.root":
            per_minute = _SOLVED_VOXELS_PER_MINUTE[step.parameters["method"] in MULTICUTS]
            need += int(LEFT_TO_NEXT_LEVEL ** step.parameters["levels"] * voxels / per_minute)
        else:
            need += voxels // _VOXELS_OF_OBJECTS_PER_MINUTE
    return int((10 + need) << (attempt - 1))
