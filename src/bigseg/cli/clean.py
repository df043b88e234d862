"""``bigseg clean``: remove intermediates of samples that are done."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bigseg.cli.options import CONFIG, AsJson, ConfigFile, OneSample
from bigseg.errors import UserError


def clean(
    config: ConfigFile = CONFIG,
    sample: OneSample = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only tell what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what only later stages read: boundary maps, supervoxels, the graph and the partition.

    Results stay, and with them what reports, tables and scores are made of. Afterwards `snakemake` has nothing to do, a
    new time point computes only itself, and a change of a parameter that needs what is gone makes that again first. A
    sample that is not done is refused.
    """
    from bigseg.config import read_settings
    from bigseg.planning.workflow import Workflow
    from bigseg.upkeep.clean import clean as remove
    from bigseg.upkeep.clean import plan_cleaning
    from bigseg.upkeep.jobs import Selection, no_other_run

    workflow = Workflow(read_settings(config), str(config))
    Selection(sample).check(workflow)
    with no_other_run(workflow, sample):
        plans = [plan_cleaning(workflow, name) for name in workflow.plans if sample in (None, name)]
        for plan in plans:
            for path in plan.paths:
                typer.echo(str(path), err=True)
        size = sum(plan.size for plan in plans)
        summary = f"{sum(len(plan.paths) for plan in plans):,} files and folders, {size / 1e6:,.1f} MB"
        if not dry_run:
            if not yes and not typer.confirm(f"Remove {summary}?", err=True):
                raise UserError("nothing was removed", "answer y, or give --yes")
            for plan in plans:
                remove(plan)
    if as_json:
        removed = {plan.sample: {"bytes": plan.size, "paths": [str(path) for path in plan.paths]} for plan in plans}
        typer.echo(json.dumps({"dry_run": dry_run, "bytes": size, "samples": removed}))
    else:
        typer.echo(f"{'would remove' if dry_run else 'removed'} {summary}")
