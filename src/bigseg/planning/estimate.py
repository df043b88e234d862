"""What a run will take, before anything runs: jobs, memory, CPU- and GPU-hours, room on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from bigseg.geometry.grid import Grid
from bigseg.geometry.levels import pyramid_levels
from bigseg.planning.calibration import (
    BYTES_PER_FILE,
    SUPPOSED,
    Calibration,
    calibration_identity,
    cost_name,
    read_calibration,
)
from bigseg.planning.sample import SamplePlan
from bigseg.planning.workflow import Workflow
from bigseg.stages.partition.levels import PartitionLevel
from bigseg.stages.partition.settings import LEFT_TO_NEXT_LEVEL, MULTICUTS
from bigseg.stages.pyramid import PyramidBlocks
from bigseg.stages.step import Step, image_parameters
from bigseg.stages.track.settings import is_tracked

JOB_START_SECONDS = 3.0
"""CPU time that a job takes before it does anything, Snakemake's included."""


_LEVELS_COST = {True: 1.5, False: 0.75}
"""How much more CPU a superblock takes for a node than one solve of the whole, of a multicut or not; with all levels
that is twice as much for a supervoxel (``make bench-partition``: 2.3 to 3.9, and 1.0 to 2.0)."""

_GPU_PER_CORE = 60.0
"""How many cores a GPU is supposed to be worth where a network was calibrated on a CPU."""

_TABLES_PER_BLOCK = 25


@dataclass(frozen=True)
class StepEstimate:
    """What a step will take.

    Attributes:
        step: ``stage.step``.
        jobs: of all time points.
        blocks: pieces of one time point.
        memory_mb: that a job asks for.
        runtime_minutes: that the longest job asks for.
        threads: of a job.
        gpus: of a job.
        cpu_hours: of all jobs, their start included.
        gpu_hours: of all jobs.
    """

    step: str
    jobs: int
    blocks: int
    memory_mb: int
    runtime_minutes: int
    threads: int
    gpus: int
    cpu_hours: float
    gpu_hours: float


@dataclass(frozen=True)
class SampleEstimate:
    """What a sample will take.

    Attributes:
        steps: by step, in order.
        results_bytes: what will lie in the folder of results.
        work_bytes: what will lie in the folder of intermediates.
        calibrated: whether costs were measured on this image with these settings.
        gpu_supposed: whether the GPU-hours were guessed from a measurement on a CPU.
    """

    steps: list[StepEstimate]
    results_bytes: float
    work_bytes: float
    calibrated: bool
    gpu_supposed: bool


@dataclass(frozen=True)
class Disk:
    """Room on one file system.

    Attributes:
        folders: of the run that lie on it.
        planned: bytes that the run will have written there in the end.
        stored: bytes that are there already.
        free: bytes that are free.
    """

    folders: tuple[str, ...]
    planned: float
    stored: float
    free: float

    @property
    def fits(self) -> bool:
        """Whether what is still to be written is less than what is free."""
        return self.planned - self.stored <= self.free


def estimate(workflow: Workflow, sample: str) -> SampleEstimate:
    """What a sample will take, by its stored calibration if there is one."""
    plan = workflow.plans[sample]
    known = read_calibration(plan.layout, calibration_identity(workflow.config, plan))
    costs = known or SUPPOSED
    steps = [_step(workflow, sample, name, costs) for name in workflow.steps(sample)]
    results, work = _bytes(workflow, plan, costs)
    supposed = any(step.gpus for step in steps) and costs.device != "cuda"
    return SampleEstimate(steps, results, work, known is not None, supposed)


def _step(workflow: Workflow, sample: str, name: str, costs: Calibration) -> StepEstimate:
    plan, step = workflow.plans[sample], workflow.step(name, sample, None)
    batches = {time: workflow.batch_names(name, sample, time) for time in workflow.times(name, sample)}
    jobs = sum(map(len, batches.values()))
    threads = workflow.config.execution.threads if step.in_batches or step.stage == "partition" else 1
    gpus = workflow.gpus() if step.stage == "predict" else 0
    seconds = voxels_read(plan, step) / 1e6 * _seconds_per_mvox(costs, name)
    if step.stage == "partition" and workflow.step("partition.root", sample, None).parameters["levels"]:
        seconds *= _LEVELS_COST[workflow.config.partition.method in MULTICUTS]
    seconds *= len(plan.times)
    gpu_seconds = 0.0
    if gpus:
        gpu_seconds = seconds if costs.device == "cuda" else seconds / _GPU_PER_CORE
        seconds = gpu_seconds  # a core waits for its GPU
    return StepEstimate(
        step=name,
        jobs=jobs,
        blocks=step.number_of_pieces,
        memory_mb=workflow.memory_mb(name, sample, threads, 1),
        runtime_minutes=workflow.runtime_minutes(name, sample, next(iter(batches.values()))[0], 1),
        threads=threads,
        gpus=gpus,
        cpu_hours=(seconds + jobs * JOB_START_SECONDS) / 3600,
        gpu_hours=gpu_seconds / 3600,
    )


def _seconds_per_mvox(costs: Calibration, step: str) -> float:
    """What was measured, or is supposed where a crop does not show it (a single block has no faces)."""
    name = cost_name(step)
    return costs.seconds_per_mvox.get(name, SUPPOSED.seconds_per_mvox.get(name, 0.0))


def voxels_read(plan: SamplePlan, step: Step) -> float:
    """Voxels of a time point that all pieces of a step work on, with their halo; of the pyramid those that are made."""
    volume = prod(plan.grid.shape)
    if isinstance(step, PyramidBlocks):
        return prod(step.grid.shape)
    if isinstance(step, PartitionLevel):
        return float(volume * LEFT_TO_NEXT_LEVEL**step.level)
    if step.name == "partition.root":
        return float(volume * LEFT_TO_NEXT_LEVEL ** step.parameters["levels"])
    if not step.in_batches or not step.per_time:  # a piece of those over all time points is no block
        return 0.0
    return volume * halo_factor(plan.grid, step)


def halo_factor(grid: Grid, step: Step) -> float:
    """How many times the voxels of the volume all blocks read together."""
    factor = 1.0
    for n, b, h in zip(grid.shape, grid.block_shape, step.parameters.get("halo", (0, 0, 0)), strict=True):
        read = sum(min(n, begin + b + h) - max(0, begin - h) for begin in range(0, n, b))
        factor *= read / n
    return factor


def _bytes(workflow: Workflow, plan: SamplePlan, costs: Calibration) -> tuple[float, float]:
    """Bytes in the folders of results and of intermediates."""
    each, times = costs.bytes_per_voxel, len(plan.times)
    volume = prod(plan.grid.shape) * times
    levels = pyramid_levels(plan.grid.shape, plan.voxel_size_um, workflow.config.pyramid.smallest)
    coarse = sum(prod(level.shape) for level in levels[1:]) * times
    channels, kind = plan.header.number_of_channels, plan.header.dtype
    image = each["image"] * channels * itemsize(kind)
    copied = image_parameters(workflow.config, plan)["copy"]
    label_images = 2 if is_tracked(workflow.config, plan) else 1
    results = image * (volume * copied + coarse) + label_images * each["labels"] * (volume + coarse)
    computed = plan.sample.segmentation is None
    work = (computed * (each["maps"] + each["supervoxels"]) + each["tables"]) * volume
    work += BYTES_PER_FILE * _TABLES_PER_BLOCK * plan.grid.number_of_blocks * times
    return results, work


def itemsize(dtype: str) -> int:
    """Bytes of a type such as ``uint16``."""
    bits = "".join(c for c in dtype if c.isdigit())
    return int(bits) // 8 if bits else 1


def disks(workflow: Workflow, estimates: dict[str, SampleEstimate]) -> list[Disk]:
    """What is planned on each file system against what is free there."""
    found: dict[int, Disk] = {}
    parts: dict[int, list[Path]] = {}
    for key in ("results", "work"):
        folder = Path(getattr(workflow.config, key))
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        device = existing.stat().st_dev
        planned = sum(getattr(made, f"{key}_bytes") for made in estimates.values())
        parts.setdefault(device, []).extend(part for name in estimates for part in _parts(workflow.plans[name], key))
        before = found.get(device, Disk((), 0.0, 0.0, float(shutil.disk_usage(existing).free)))
        found[device] = replace(before, folders=(*before.folders, str(folder)), planned=before.planned + planned)
    # What is there already is counted only where it matters: a finished run has many files to look at.
    return [
        disk if disk.fits else replace(disk, stored=float(sum(map(_stored, parts[device]))))
        for device, disk in found.items()
    ]


def disk_warnings(workflow: Workflow) -> list[str]:
    """A line for each file system on which a run will not find the room that it is likely to need."""
    lines = []
    for disk in disks(workflow, {sample: estimate(workflow, sample) for sample in workflow.plans}):
        if not disk.fits:
            lines.append(
                f"{' and '.join(disk.folders)}: about {(disk.planned - disk.stored) / 1e9:.0f} GB are still to be "
                f"written, {disk.free / 1e9:.0f} GB are free; `bigseg plan` tells more"
            )
    return lines


def _parts(plan: SamplePlan, key: str) -> Iterator[Path]:
    if key == "work":
        yield plan.layout.folder
    else:
        yield plan.layout.result
        yield plan.layout.result_folder


def _stored(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:  # gone since
                continue
    return total
