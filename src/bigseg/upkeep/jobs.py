"""The jobs of a configuration with their markers and ledgers, and how a piece is marked so that it is made again."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bigseg.errors import UserError
from bigseg.geometry.batches import parse_batch
from bigseg.planning.workflow import Workflow
from bigseg.resume.ledger import Ledger, Record, step_ledgers, youngest
from bigseg.resume.locks import run_locked
from bigseg.stages import ASIDE
from bigseg.stages.step import Step

_MOST_NAMED = 20
"""Markers up to which a command names them."""


@dataclass(frozen=True)
class Job:
    """One job of a configuration.

    Attributes:
        sample: name of the sample.
        step: the step, bound to sample and time point.
        time: time point, None for a step over all of them.
        batch: name of its batch, None for a step of a single piece.
        marker: its marker.
    """

    sample: str
    step: Step
    time: int | None
    batch: str | None
    marker: Path

    @property
    def pieces(self) -> range:
        """Numbers of its pieces."""
        total = self.step.number_of_pieces
        return range(total) if self.batch is None else parse_batch(self.batch, total)

    @property
    def ledger(self) -> Path:
        """Its own ledger."""
        return self.step.layout.ledger(self.step.stage, self.time, self.step.unit(self.batch))

    @cached_property
    def records(self) -> dict[int, Record]:
        """What the ledgers tell of its pieces, whatever the batches in which these were done."""
        found = youngest(step_ledgers(self.ledger.parent, self.step.step, self.pieces))
        return {piece: record for piece, record in found.items() if piece in self.pieces}

    def redo(self, pieces: Collection[int]) -> None:
        """Mark pieces so that the next run makes them again, and nothing else of the job.

        The ledger takes back what it told of them; the marker goes, so that the job is planned. What they gave before
        stays in the store until then. If it comes out the same, so does the marker, and nothing that depends on it has
        to run.

        Raises:
            UserError: the folders cannot be written.
        """
        ledger = Ledger(self.ledger)
        try:
            for piece in sorted(pieces):
                ledger.append(Record.begun(piece))
        finally:
            ledger.close()
        remove(self.marker)


@dataclass(frozen=True)
class Selection:
    """Which jobs are meant; all where nothing is said."""

    sample: str | None = None
    stage: str | None = None
    time: int | None = None

    def check(self, workflow: Workflow) -> None:
        """Refuse names that mean nothing.

        Raises:
            UserError: there is no such sample, stage or time point.
        """
        if self.sample is not None and self.sample not in workflow.plans:
            raise UserError(f"--sample {self.sample!r}: is no sample", f"samples are {', '.join(workflow.plans)}")
        samples = [self.sample] if self.sample is not None else list(workflow.plans)
        stages = list(dict.fromkeys(name.partition(".")[0] for s in samples for name in workflow.steps(s)))
        if self.stage is not None and self.stage not in stages:
            raise UserError(
                f"--stage {self.stage!r}: is no stage of this configuration", f"stages are {', '.join(stages)}"
            )
        times = sorted({time for sample in samples for time in workflow.plans[sample].times})
        if self.time is not None and self.time not in times:
            shown = ", ".join(map(str, times[:10])) + (", …" if len(times) > 10 else "")
            raise UserError(f"--time {self.time}: is not processed", f"time points are {shown}")

    def jobs(self, workflow: Workflow) -> Iterator[Job]:
        """The jobs, in the order of the workflow."""
        for name, sample, time, batch in workflow.jobs():
            if self.sample not in (None, sample) or self.stage not in (None, name.partition(".")[0]):
                continue
            if self.time not in (None, time):
                continue
            marker = Path(workflow.marker(name, sample, time, batch))
            yield Job(sample, workflow.step(name, sample, time), time, batch, marker)

    def jobs_aside(self, workflow: Workflow) -> Iterator[Job]:
        """What a command did beside the workflow (``bigseg sweep``), as one job of all blocks; only what was begun."""
        for name, kind in ASIDE.items():
            for sample, plan in workflow.plans.items():
                if self.sample not in (None, sample) or self.stage not in (None, kind.stage):
                    continue
                for time in plan.times:
                    if self.time in (None, time):
                        job = Job(
                            sample,
                            workflow.step(name, sample, time),
                            time,
                            None,
                            Path(workflow.marker(name, sample, time, None)),
                        )
                        if job.marker.exists() or job.ledger.exists():
                            yield job


@contextmanager
def no_other_run(workflow: Workflow, sample: str | None) -> Iterator[None]:
    """Keep runs away from the samples that are about to be changed.

    Raises:
        UserError: a run works on one of them.
    """
    with ExitStack() as locks:
        for name, plan in workflow.plans.items():
            if sample in (None, name):
                locks.enter_context(run_locked(plan.layout.run_lock, name))
        yield


def remove(path: Path) -> None:
    """Delete a file that may be gone already.

    Raises:
        UserError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be deleted ({error.strerror})", "make its folder writable") from error


def commands(markers: Collection[Path], origin: str) -> list[str]:
    """What to run after pieces were marked: first just their jobs, then what depends on those that came out otherwise.

    Snakemake plans before it runs. If it were told nothing, it would start every job downstream as well; each would
    find its blocks unchanged and end at once.
    """
    option = "" if origin == "config.yaml" else f" --configfile {shlex.quote(origin)}"
    run = f"snakemake{option} --cores all"
    if not markers or len(markers) > _MOST_NAMED:
        return [run]
    return [f"{run} {' '.join(shlex.quote(str(marker)) for marker in sorted(markers))}", run]
