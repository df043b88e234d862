"""``bigseg run``: one job, as the rules of the workflow call it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bigseg.cli.log import logging_to


def run(
    step: Annotated[str, typer.Argument(help="Stage and step, e.g. supervoxels.blocks.")],
    sample: Annotated[str, typer.Option(help="Name of the sample.")],
    parameters: Annotated[str, typer.Option(help="What the step's result depends on, as JSON.")],
    places: Annotated[str, typer.Option(help="What else the step is told, as JSON: where to look for things.")] = "{}",
    time: Annotated[str, typer.Option(help="Time point, e.g. t0003; `all` for a step over all of them.")] = "all",
    blocks: Annotated[str | None, typer.Option(help="Batch of blocks, FIRST-LAST.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results"),
    work: Annotated[Path, typer.Option(help="Folder of the intermediates.")] = Path("work"),
    threads: Annotated[int, typer.Option(min=1, help="Blocks at the same time.")] = 1,
    device: Annotated[str, typer.Option(help="What a network runs on: auto, cpu or cuda.")] = "auto",
    network_memory_gb: Annotated[float, typer.Option(help="Memory for a network's layers on the CPU.")] = 2.0,
    compile_network: Annotated[bool, typer.Option("--compile", help="Let torch compile the network.")] = False,
    log: Annotated[Path | None, typer.Option(help="File for progress and messages.")] = None,
) -> None:
    """Run one job of the workflow. Snakemake calls this; by hand it is of use to look into a failure."""
    from bigseg.layout import Layout
    from bigseg.machine import Machine
    from bigseg.resume.attempts import attempt
    from bigseg.runner import StoppedError, run_unit
    from bigseg.stages import find_step

    settings = {**json.loads(parameters), **json.loads(places)}
    machine = Machine(threads, device, network_memory_gb, compile_network)
    settings.pop("version", None)  # the code's own version counts; the rule passes it so that a change is noticed
    with logging_to(log):
        bound = find_step(step)(settings, Layout(results, work, sample), 0 if time == "all" else int(time[1:]))
        told = bound.layout.attempt(bound.stage, bound.time if bound.per_time else None, bound.unit(blocks))
        try:
            with attempt(told, StoppedError):
                summary = run_unit(bound, blocks, threads, machine)
        except StoppedError as stopped:
            sys.stderr.write(f"{stopped}\n")
            raise typer.Exit(143) from stopped
        sys.stderr.write(f"{step}: {summary.done} done, {summary.skipped} unchanged\n")
