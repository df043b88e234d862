"""Whether the graph that is stored is the one that the configuration would make: a sweep must not score another."""

from __future__ import annotations

from pathlib import Path

from bigseg.config.samples import ROLES
from bigseg.errors import UserError
from bigseg.geometry.batches import parse_batch
from bigseg.planning.workflow import Workflow
from bigseg.resume.ledger import step_ledgers, youngest
from bigseg.runner import piece_key, read_upstream
from bigseg.stages import find_step


def check_graph(workflow: Workflow, origin: str, sample: str, time: int, configured: str) -> None:
    """Refuse a graph that is missing, or was made with other parameters, of other files or by other code.

    Args:
        workflow: the configuration with the method that is to be tried, which may need tables that others do not.
        origin: file of the configuration, for the remedy.
        sample: name of the sample.
        time: time point.
        configured: the method in the file.

    Raises:
        UserError: it is; the remedy is the command to run.
    """
    names = graph_steps(workflow, sample)
    for name in names:
        when = time if find_step(name).per_time else None
        for batch in workflow.batch_names(name, sample, when):
            there = Path(workflow.marker(name, sample, when, batch)).exists()
            if there and _is_current(workflow, name, sample, when, batch):
                continue
            command, method = _command(names, origin), workflow.config.partition.method
            raise UserError(
                f"samples.{sample}: the graph of time point {time}, on which parameters are scored, is "
                + (f"out of date (step {name} would run again)" if there else f"not there (step {name} has not run)"),
                ("" if method == configured else f"set partition.method: {method}, then ")
                + f"run `{command}`"
                + f"; if that finds nothing to do, `{command} --forcerun ingest`",
            )


def graph_steps(workflow: Workflow, sample: str) -> list[str]:
    """The steps before the partition, in order."""
    names = workflow.steps(sample)
    return names[: next(i for i, name in enumerate(names) if name.startswith("partition."))]


def _command(steps: list[str], origin: str) -> str:
    """What makes the tables of stage ``graph``; the rule of a step ``x.blocks`` is ``x``, of ``x.y`` it is ``x_y``."""
    rules = [name.removesuffix(".blocks").replace(".", "_") for name in steps if name.startswith("graph.")]
    option = "" if origin == "config.yaml" else f" --configfile {origin}"
    return f"snakemake{option} --cores all --until {' '.join(rules)}"


def _is_current(workflow: Workflow, name: str, sample: str, time: int | None, batch: str | None) -> bool:
    """Whether running a job would do nothing."""
    if not workflow.is_done(name, sample, time, batch):
        return False
    step = workflow.step(name, sample, time)
    marker = Path(workflow.marker(name, sample, time, batch))
    files = [file for role in ROLES if role != "truth" for file in workflow.files(sample, role, time or 0)]
    inputs = [*workflow.inputs(name, sample, time, batch), *files]
    if step.opens and all(Path(file).stat().st_mtime_ns <= marker.stat().st_mtime_ns for file in inputs):
        return True  # as Snakemake sees it; the keys would tell the same, but a mask would be read for them
    pieces = range(step.number_of_pieces) if batch is None else parse_batch(batch, step.number_of_pieces)
    digests, empty = read_upstream(step, pieces)
    folder = step.layout.ledger(step.stage, time, step.unit(batch)).parent
    records = youngest(step_ledgers(folder, step.step, pieces))
    try:
        for piece in pieces:
            record = records.get(piece)
            key = piece_key(step, piece, digests, empty)
            if record is None or record.key != key or not step.intact(piece, record):
                return False
        return True
    finally:
        step.close()
