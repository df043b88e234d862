"""``bigseg verify``: whether everything that is stored is still what was written."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigseg.cli.options import CONFIG, AsJson, ConfigFile, OneSample, OneTime

if TYPE_CHECKING:
    from bigseg.upkeep.verify import Finding, Verification

_MOST_LINES = 50


def verify(
    config: ConfigFile = CONFIG,
    sample: OneSample = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage, e.g. predict.")] = None,
    time: OneTime = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Mark what is damaged, so that the next run of snakemake makes just that again."),
    ] = False,
    as_json: AsJson = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Blocks to read at once. Default: execution.threads.")
    ] = None,
) -> None:
    """Hash again what is stored and compare it with what was written.

    Finds truncated, altered and missing files of arrays and tables, arrays of another shape, and markers and ledgers
    that are damaged or belong to something else. An image that is used where it lies is hashed as well, so that voxels
    that were changed in place are found. Jobs that have not run, or were run with another configuration, are left out.
    Ends with status 1 if anything is damaged, unless --fix is given.
    """
    from contextlib import nullcontext

    from bigseg.config import read_settings
    from bigseg.planning.workflow import Workflow
    from bigseg.upkeep.jobs import Selection, commands, no_other_run
    from bigseg.upkeep.verify import mend
    from bigseg.upkeep.verify import verify as check

    workflow = Workflow(read_settings(config), str(config))
    with no_other_run(workflow, sample) if fix else nullcontext():
        found = check(workflow, Selection(sample, stage, time), threads or workflow.config.execution.threads)
        markers = mend(found.findings) if fix else []
    then = commands(markers, str(config)) if markers else []
    typer.echo(json.dumps(_as_dict(found, then)) if as_json else _text(found, then, fixed=fix))
    if found.findings and not fix:
        sys.stderr.write("bigseg: `bigseg verify --fix` marks what is damaged, so that it is made again\n")
        raise typer.Exit(1)


def _as_dict(found: Verification, then: list[str]) -> dict[str, Any]:
    damaged = [_entry(finding) for finding in found.findings]
    return {
        "checked": found.checked,
        "not_done": found.not_done,
        "cleaned": found.cleaned,
        "damaged": damaged,
        "commands": then,
    }


def _entry(finding: Finding) -> dict[str, Any]:
    job = finding.job
    return {
        "sample": job.sample,
        "step": job.step.name,
        "time": job.time,
        "batch": job.batch,
        "piece": finding.piece,
        "where": finding.where,
        "problem": finding.problem,
    }


def _text(found: Verification, then: list[str], *, fixed: bool) -> str:
    from bigseg.stages import ASIDE

    lines = [f"{finding.where}: {finding.problem}" for finding in found.findings[:_MOST_LINES]]
    if len(found.findings) > _MOST_LINES:
        lines.append(f"… and {len(found.findings) - _MOST_LINES:,} more (--json lists all)")
    cleaned = f", {found.cleaned:,} cleaned" if found.cleaned else ""
    lines.append(
        f"{found.checked:,} pieces checked, {len(found.findings):,} damaged; {found.not_done:,} jobs not done{cleaned}"
    )
    if then:
        lines += ["What is damaged is marked. To make it again, run", *(f"  {command}" for command in then)]
    if fixed and any(finding.job.step.name in ASIDE for finding in found.findings):
        lines.append("What is damaged of a sweep is marked; the next one makes it again.")
    return "\n".join(lines)
