"""``bigseg invalidate``: have parts of a result made again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigseg.cli.options import CONFIG, AsJson, ConfigFile, OneSample, OneTime
from bigseg.errors import UserError

if TYPE_CHECKING:
    from bigseg.upkeep.jobs import Job


def invalidate(
    config: ConfigFile = CONFIG,
    roi: Annotated[
        str | None,
        typer.Option(
            metavar="Z0:Z1,Y0:Y1,X0:X1",
            help="Blocks that hold voxels of this region. Voxels at full resolution as in NumPy: ends are not included "
            "and may be left out, e.g. 0:64,100:200,: ",
        ),
    ] = None,
    blocks: Annotated[str | None, typer.Option(help="Blocks by number, e.g. 3,8-11, as messages name them.")] = None,
    time: OneTime = None,
    stage: Annotated[
        str,
        typer.Option(help="Stage whose output is made again. `ingest` looks at the input again; `all` is every stage."),
    ] = "ingest",
    sample: OneSample = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only tell what would be marked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mark blocks of a stage, so that the next run of snakemake makes them again.

    Later stages follow where the blocks come out otherwise, and only there. With the default stage this is what to do
    after voxels of a Zarr were changed in place: which blocks did change is found out by looking. After a mask was
    changed in place, name `--stage supervoxels`. Nothing is deleted but markers.
    """
    from contextlib import nullcontext

    from bigseg.config import read_settings
    from bigseg.planning.workflow import Workflow
    from bigseg.upkeep.invalidate import chosen_pieces
    from bigseg.upkeep.jobs import Selection, commands, no_other_run

    workflow = Workflow(read_settings(config), str(config))
    selection = Selection(sample, None if stage == "all" else stage, time)
    with nullcontext() if dry_run else no_other_run(workflow, sample):
        chosen = chosen_pieces(workflow, selection, roi, blocks)
        if not chosen:
            raise UserError(
                f"--stage {stage}: none of what is chosen was made yet, or no step of this stage works in blocks",
                "`bigseg status` tells what is done; leave out --roi and --blocks for a stage without blocks",
            )
        for job, pieces in chosen:
            if not dry_run:
                job.redo(pieces)
    then = [] if dry_run else commands([job.marker for job, _ in chosen], str(config))
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "marked": [_entry(*one) for one in chosen], "commands": then}))
        return
    for job, pieces in chosen:
        typer.echo(f"{job.sample}: {job.step.name}{_when(job)}{_which(job, pieces)}")
    total, verb = sum(len(pieces) for _, pieces in chosen), "would be marked" if dry_run else "marked"
    typer.echo(f"{total:,} pieces of {len(chosen):,} jobs {verb}; later stages follow where these come out otherwise")
    if then:
        typer.echo("\n".join(["To make them again, run", *(f"  {command}" for command in then)]))


def _entry(job: Job, pieces: list[int]) -> dict[str, Any]:
    return {"sample": job.sample, "step": job.step.name, "time": job.time, "batch": job.batch, "pieces": pieces}


def _when(job: Job) -> str:
    return "" if job.time is None else f", time point {job.time}"


def _which(job: Job, pieces: list[int]) -> str:
    return "" if job.batch is None else f", blocks {', '.join(map(str, pieces))} of {job.batch}"
