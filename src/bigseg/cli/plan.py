"""``bigseg plan``: what a run will take, before anything runs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigseg.cli.options import CONFIG, AsJson, ConfigFile
from bigseg.errors import UserError

if TYPE_CHECKING:
    from bigseg.planning.estimate import Disk, SampleEstimate
    from bigseg.planning.workflow import Workflow

_SNAKEMAKE_JOBS = 10_000
"""Jobs from which on Snakemake takes longer than half a minute to plan."""


def plan(
    config: ConfigFile = CONFIG,
    as_json: AsJson = False,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Measure anew, although a measurement is stored.")
    ] = False,
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="Do not measure: take what is stored, or what is supposed.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="No error where the disk is too small.")] = False,
) -> None:
    """Show blocks, jobs, memory, room on disk, CPU- and GPU-hours of a run; nothing of it runs.

    What a voxel costs is measured on a small crop of the image with the present settings, which takes seconds, and is
    stored in the work folder. Too little room on a disk is an error.
    """
    from bigseg.config import read_settings
    from bigseg.planning.estimate import disks, estimate
    from bigseg.planning.workflow import Workflow

    workflow = Workflow(read_settings(config), str(config))
    for line in workflow.warnings():
        sys.stderr.write(f"bigseg: {line}\n")
    if not no_calibration:
        for sample in workflow.plans:
            _calibrate(workflow, sample, again=recalibrate)
    estimates = {sample: estimate(workflow, sample) for sample in workflow.plans}
    room = disks(workflow, estimates)
    if as_json:
        typer.echo(json.dumps(_as_json(workflow, estimates, room)))
    else:
        for line in _as_text(workflow, estimates, room):
            typer.echo(line)
    short = [disk for disk in room if not disk.fits]
    if short and not force:
        disk = short[0]
        raise UserError(
            f"{' and '.join(disk.folders)}: {_gb(disk.planned - disk.stored)} GB are still to be written and "
            f"{_gb(disk.free)} GB are free",
            "free space there, choose other folders with `results:` and `work:`, or go on with --force",
        )


def _calibrate(workflow: Workflow, sample: str, *, again: bool) -> None:
    from bigseg.planning.calibration import calibration_identity, read_calibration, write_calibration

    plan = workflow.plans[sample]
    if not again and read_calibration(plan.layout, calibration_identity(workflow.config, plan)) is not None:
        return
    from bigseg.calibrate import calibrate  # takes all kernels

    sys.stderr.write(f"bigseg: measuring on a crop of sample {sample} …\n")
    try:
        write_calibration(plan.layout, calibrate(workflow, sample))
    except UserError as error:
        sys.stderr.write(f"bigseg: costs are supposed, because the crop could not be processed: {error}\n")


def _as_json(workflow: Workflow, estimates: dict[str, SampleEstimate], room: list[Disk]) -> dict[str, Any]:
    samples = {}
    for name, found in estimates.items():
        sample = workflow.plans[name]
        samples[name] = {
            "shape": list(sample.grid.shape),
            "block_shape": list(sample.grid.block_shape),
            "blocks": sample.grid.number_of_blocks,
            "time_points": len(sample.times),
            "batches": min(sample.batches, sample.grid.number_of_blocks),
            "calibrated": found.calibrated,
            "gpu_supposed": found.gpu_supposed,
            "results_gb": found.results_bytes / 1e9,
            "work_gb": found.work_bytes / 1e9,
            "steps": {step.step: {key: v for key, v in asdict(step).items() if key != "step"} for step in found.steps},
        }
    return {
        "samples": samples,
        "jobs": int(_total(estimates, "jobs")),
        "cpu_hours": _total(estimates, "cpu_hours"),
        "gpu_hours": _total(estimates, "gpu_hours"),
        "disks": [
            {
                "folders": list(disk.folders),
                "planned_gb": disk.planned / 1e9,
                "stored_gb": disk.stored / 1e9,
                "free_gb": disk.free / 1e9,
                "fits": disk.fits,
            }
            for disk in room
        ],
        "fits": all(disk.fits for disk in room),
    }


def _as_text(workflow: Workflow, estimates: dict[str, SampleEstimate], room: list[Disk]) -> list[str]:
    lines = []
    for name, found in estimates.items():
        sample = workflow.plans[name]
        shape, block = (" × ".join(map(str, t)) for t in (sample.grid.shape, sample.grid.block_shape))
        lines += [
            f"{name}: {shape} voxels, {len(sample.times)} time point(s), {sample.grid.number_of_blocks:,} blocks of "
            f"{block} in {min(sample.batches, sample.grid.number_of_blocks)} batches",
            f"  {'step':<22}{'blocks':>9}{'jobs':>7}{'MB a job':>10}{'minutes':>9}{'CPU h':>9}{'GPU h':>8}",
        ]
        for step in found.steps:
            gpu = f"{step.gpu_hours:.1f}" if step.gpus else ""
            lines.append(
                f"  {step.step:<22}{step.blocks:>9,}{step.jobs:>7,}{step.memory_mb:>10,}{step.runtime_minutes:>9,}"
                f"{step.cpu_hours:>9.2f}{gpu:>8}"
            )
        lines.append(
            f"  on disk: {_gb(found.results_bytes)} GB of results, {_gb(found.work_bytes)} GB of intermediates"
        )
        lines.append(f"  costs {'measured on a crop' if found.calibrated else 'supposed, not measured'}")
        if found.gpu_supposed:
            lines.append("  GPU-hours guessed from a measurement without GPU: run `bigseg plan --recalibrate` on one")
    jobs = int(_total(estimates, "jobs"))
    hours = f"{_total(estimates, 'cpu_hours'):.1f} CPU-hours"
    if _total(estimates, "gpu_hours"):
        hours += f", {_total(estimates, 'gpu_hours'):.1f} GPU-hours"
    lines.append(f"in all: {jobs:,} jobs, {hours}")
    lines += [
        f"{' and '.join(disk.folders)}: {_gb(disk.planned)} GB planned, {_gb(disk.free)} GB free"
        + ("" if disk.fits else ": TOO LITTLE")
        for disk in room
    ]
    if jobs > _SNAKEMAKE_JOBS:
        lines.append(f"{jobs:,} jobs take Snakemake a minute to plan: execution.batches would make them fewer")
    return lines


def _total(estimates: dict[str, SampleEstimate], what: str) -> float:
    return sum(float(getattr(step, what)) for found in estimates.values() for step in found.steps)


def _gb(count: float) -> str:
    """Bytes as gigabytes, with as many digits as say something."""
    return f"{count / 1e9:.3g}" if count < 1e11 else f"{count / 1e9:,.0f}"
