"""``bigseg status``: what is done and what is left."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def status(
    config: Annotated[Path, typer.Option("--config", "--configfile", help="Configuration of the run.")] = Path(
        "config.yaml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how many jobs are done, per sample, stage and time point."""
    from bigseg.config import read_settings
    from bigseg.layout import time_name
    from bigseg.planning.workflow import Workflow

    jobs = Workflow(read_settings(config), str(config))
    for line in jobs.warnings():
        sys.stderr.write(f"bigseg: {line}\n")
    table: dict[str, dict[str, dict[str, list[int]]]] = {}
    for step, sample, time, batch in jobs.jobs():
        stage = step.split(".")[0]
        when = "all" if time is None else time_name(time)
        counts = table.setdefault(sample, {}).setdefault(stage, {}).setdefault(when, [0, 0])
        counts[0] += jobs.is_done(step, sample, time, batch)
        counts[1] += 1
    if as_json:
        typer.echo(
            json.dumps(
                {
                    sample: {
                        stage: {time: {"done": done, "jobs": total} for time, (done, total) in times.items()}
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
            cells = "  ".join(f"{time} {done}/{total}" for time, (done, total) in times.items())
            typer.echo(f"  {stage:<12} {cells}")
