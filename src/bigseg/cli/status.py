"""``bigseg status``: what is done, what failed and what is left."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

import typer

from bigseg.cli.options import CONFIG, AsJson, ConfigFile

if TYPE_CHECKING:
    from bigseg.planning.states import JobState

_LISTED = 10


def status(
    config: ConfigFile = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show how many jobs are done, cleaned, at work, failed and left to do, per sample, stage and time point.

    A job is done if its marker is there and was written with the present parameters; snakemake may find that its input
    changed since. It is cleaned if it was done and bigseg clean removed what it made, which a change of a parameter may
    make again. It failed if its last attempt ended with an error or was killed.
    """
    from bigseg.config import read_settings
    from bigseg.layout import time_name
    from bigseg.planning.states import STATES, job_states
    from bigseg.planning.workflow import Workflow

    jobs = Workflow(read_settings(config), str(config))
    for line in jobs.warnings():
        sys.stderr.write(f"bigseg: {line}\n")
    table: dict[str, dict[str, dict[str, Counter[str]]]] = {}
    failed: dict[str, list[JobState]] = {}
    for job in job_states(jobs):
        when = "all" if job.time is None else time_name(job.time)
        stages = table.setdefault(job.sample, {})
        stages.setdefault(job.step.split(".")[0], {}).setdefault(when, Counter())[job.state] += 1
        if job.state == "failed":
            failed.setdefault(job.sample, []).append(job)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    sample: {
                        stage: {
                            time: {**{state: counts[state] for state in STATES}, "jobs": counts.total()}
                            for time, counts in times.items()
                        }
                        for stage, times in stages.items()
                    }
                    for sample, stages in table.items()
                }
            )
        )
        return
    for sample, stages in table.items():
        typer.echo(sample)
        for stage, times in stages.items():
            typer.echo(f"  {stage:<12} {'  '.join(f'{time} {_cell(counts)}' for time, counts in times.items())}")
        jobs_failed = failed.get(sample, [])
        for job in jobs_failed[:_LISTED]:
            typer.echo(f"  failed: {_name(job)}: {' '.join(job.message.split())}")
        if len(jobs_failed) > _LISTED:
            folder = jobs.plans[sample].layout.folder / "logs"
            typer.echo(f"  … and {len(jobs_failed) - _LISTED} more failed; see {folder}")


def _cell(counts: Counter[str]) -> str:
    """Jobs done of all, and how many were cleaned, failed or are at work."""
    more = [f"{counts[state]} {state}" for state in ("cleaned", "failed", "running") if counts[state]]
    return f"{counts['done']}/{counts.total()}" + (f" ({', '.join(more)})" if more else "")


def _name(job: JobState) -> str:
    parts = [job.step, None if job.time is None else f"time point {job.time}", job.batch and f"blocks {job.batch}"]
    return ", ".join(part for part in parts if part)
