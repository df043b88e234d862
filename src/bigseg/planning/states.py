"""How far a run is: jobs done, failed, at work and to do, from markers and attempts alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bigseg.planning.workflow import Workflow
from bigseg.resume.attempts import read_attempt

STATES = ("done", "cleaned", "running", "failed", "to_do")
"""States of a job. Done: its marker is there, of this version and these parameters. Cleaned: it was done, and ``bigseg
clean`` removed what it made. Failed: it has no marker, and its last attempt ended with an error or was killed."""


@dataclass(frozen=True)
class JobState:
    """One job and how far it is.

    Attributes:
        sample: its sample.
        step: ``stage.step``.
        time: time point, None for a job over all of them.
        batch: its blocks, None for a step of a single piece.
        state: one of ``STATES``.
        message: what a failed one said.
    """

    sample: str
    step: str
    time: int | None
    batch: str | None
    state: str
    message: str = ""


def job_states(workflow: Workflow) -> Iterator[JobState]:
    """Every job of a workflow with its state."""
    for step, sample, time, batch in workflow.jobs():
        if workflow.is_done(step, sample, time, batch):
            yield JobState(sample, step, time, batch, "done")
            continue
        bound = workflow.step(step, sample, time)
        match read_attempt(bound.layout.attempt(bound.stage, time, bound.unit(batch))):
            case "failed", message:
                yield JobState(sample, step, time, batch, "failed", message)
            case "killed", _:
                yield JobState(sample, step, time, batch, "failed", "killed, or the machine went down")
            case "running", _:
                yield JobState(sample, step, time, batch, "running")
            case _:
                cleaned = workflow.was_cleaned(step, sample, time, batch)
                yield JobState(sample, step, time, batch, "cleaned" if cleaned else "to_do")
