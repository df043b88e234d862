"""Hash again what is stored and hold it against what markers and ledgers say was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bigseg.errors import UserError
from bigseg.planning.workflow import Workflow
from bigseg.progress import Progress
from bigseg.resume.ledger import Record
from bigseg.resume.marker import Marker
from bigseg.runner import piece_key, read_upstream
from bigseg.stages import ASIDE
from bigseg.upkeep.jobs import Job, Selection


@dataclass(frozen=True)
class Finding:
    """Something that is damaged.

    Attributes:
        job: the job that makes it.
        piece: number of the piece, None if it is the marker of the job.
        problem: what is wrong.
    """

    job: Job
    piece: int | None
    problem: str

    @property
    def where(self) -> str:
        """Step and piece, as messages of a run name them."""
        step, batch = self.job.step, self.job.batch
        if self.piece is not None:
            place = step.describe(self.piece)
        else:
            place = step.describe(0) if batch is None else f"time point {self.job.time}, blocks {batch}"
        return f"{self.job.sample}: {step.name}, {place}"


@dataclass
class Verification:
    """What was found.

    Attributes:
        checked: pieces that were hashed again.
        findings: what is damaged, in the order of the workflow.
        not_done: jobs without a marker, or with that of another configuration; of these, blocks that a run would take
            for done are checked as well.
        cleaned: jobs that were done and whose output ``bigseg clean`` removed.
    """

    checked: int = 0
    findings: list[Finding] = field(default_factory=list)
    not_done: int = 0
    cleaned: int = 0


def verify(workflow: Workflow, selection: Selection, threads: int) -> Verification:
    """Check everything that the selected jobs stored; nothing is written.

    Args:
        workflow: the configuration.
        selection: which jobs.
        threads: pieces that are read at the same time.

    Raises:
        UserError: the selection means nothing.
    """
    selection.check(workflow)
    found = Verification()
    tasks: list[tuple[Job, int, Record]] = []
    findings: list[Finding] = []
    jobs = [*selection.jobs(workflow), *selection.jobs_aside(workflow)]
    for job in jobs:
        marker = _stated(job, findings)
        if marker is None:
            if workflow.was_cleaned(job.step.name, job.sample, job.time, job.batch):
                found.cleaned += 1
            else:
                found.not_done += 1
            vouched = _trusted(job)
        else:
            vouched = {piece: job.records[piece] for piece in job.pieces if piece in job.records}
            unknown = [piece for piece in marker.digests if piece not in vouched]
            findings += [Finding(job, piece, "the marker tells of it, but no ledger does") for piece in unknown]
            if any(
                record.digest != marker.digests[piece] or record.empty != (piece in marker.empty)
                for piece, record in vouched.items()
            ):
                findings.append(Finding(job, None, f"{job.marker}: tells of another output than the ledger"))
        tasks += [(job, piece, record) for piece, record in vouched.items()]
    findings += _rehash(tasks, threads)
    found.checked = len(tasks)
    order = {job.marker: number for number, job in enumerate(jobs)}
    found.findings = sorted(findings, key=lambda f: (order[f.job.marker], -1 if f.piece is None else f.piece))
    return found


def mend(findings: Sequence[Finding]) -> list[Path]:
    """Mark what is damaged so that the next run makes just that again, or the next sweep.

    Returns:
        The markers of the workflow's jobs that are concerned.

    Raises:
        UserError: the folders cannot be written.
    """
    pieces: dict[Path, tuple[Job, set[int]]] = {}
    for finding in findings:
        _, wanted = pieces.setdefault(finding.job.marker, (finding.job, set()))
        if finding.piece is not None:
            wanted.add(finding.piece)
    for job, wanted in pieces.values():
        job.redo(wanted)
    return [marker for marker, (job, _) in pieces.items() if job.step.name not in ASIDE]


def _stated(job: Job, findings: list[Finding]) -> Marker | None:
    """The marker of a job, of all its pieces and no others; None if there is none of this configuration."""
    if not job.marker.exists():
        return None
    try:
        marker = Marker.read(job.marker)
    except UserError as error:
        findings.append(Finding(job, None, error.problem))
        return None
    if (marker.step, marker.time) != (job.step.name, job.time):
        findings.append(Finding(job, None, f"{job.marker}: is the marker of another job, {marker.step}"))
        return None
    if not job.step.is_told_by(marker):
        return None
    if set(marker.digests) != set(job.pieces) or not set(marker.empty) <= set(job.pieces):
        findings.append(Finding(job, None, f"{job.marker}: tells of other blocks than those of its batch"))
        return None
    return marker


def _trusted(job: Job) -> dict[int, Record]:
    """The records of a job without a marker by which a run would skip pieces."""
    records, step = job.records, job.step
    if not records:
        return {}
    try:
        told = read_upstream(step, job.pieces)
        return {piece: record for piece, record in records.items() if record.key == piece_key(step, piece, *told)}
    except UserError:  # what it needs is not there either, so that no run could take anything for done
        return {}


def _rehash(tasks: Sequence[tuple[Job, int, Record]], threads: int) -> Iterator[Finding]:
    """Read pieces again; those that are not what was written."""

    def check(task: tuple[Job, int, Record]) -> Finding | None:
        job, piece, record = task
        try:
            same = job.step.rehash(piece, record) == record.digest
            return None if same else Finding(job, piece, "what is stored is not what was written")
        except UserError as error:
            return Finding(job, piece, error.problem)
        finally:
            progress.done(job.step.voxels(piece))

    try:
        with Progress(len(tasks), "verify") as progress, ThreadPoolExecutor(max_workers=threads) as pool:
            yield from (finding for finding in pool.map(check, tasks) if finding is not None)
    finally:
        for job, _, _ in tasks:
            job.step.close()
