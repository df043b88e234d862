"""``bigseg run``: one job, as the rules of the workflow call it."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from bigseg.errors import UserError


def run(
    step: Annotated[str, typer.Argument(help="Stage and step, e.g. supervoxels.blocks.")],
    sample: Annotated[str, typer.Option(help="Name of the sample.")],
    parameters: Annotated[str, typer.Option(help="What the step's result depends on, as JSON.")],
    time: Annotated[str, typer.Option(help="Time point, e.g. t0003; `all` for a step over all of them.")] = "all",
    blocks: Annotated[str | None, typer.Option(help="Batch of blocks, FIRST-LAST.")] = None,
    batches: Annotated[int, typer.Option(min=1, help="Upper limit of jobs per step, as in the configuration.")] = 200,
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

    settings = json.loads(parameters)
    machine = Machine(threads, device, network_memory_gb, compile_network)
    settings.pop("version", None)  # the code's own version counts; the rule passes it so that a change is noticed
    with _logging_to(log):
        bound = find_step(step)(settings, Layout(results, work, sample), 0 if time == "all" else int(time[1:]))
        told = bound.layout.attempt(bound.stage, bound.time if bound.per_time else None, bound.unit(blocks))
        try:
            with attempt(told, StoppedError):
                summary = run_unit(bound, blocks, batches, threads, machine)
        except StoppedError as stopped:
            sys.stderr.write(f"{stopped}\n")
            raise typer.Exit(143) from stopped
        sys.stderr.write(f"{step}: {summary.done} done, {summary.skipped} unchanged\n")


@contextlib.contextmanager
def _logging_to(path: Path | None) -> Iterator[None]:
    """Send standard error to a log; what ends the job is told in both."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", buffering=1) as file, contextlib.redirect_stderr(file):
        try:
            yield
        except UserError as error:
            file.write(f"bigseg: {error}\n")
            raise
        except Exception:
            file.write(traceback.format_exc())
            raise
