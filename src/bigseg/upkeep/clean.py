"""Remove what only later stages read, once a sample is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bigseg.errors import UserError
from bigseg.planning.workflow import Workflow
from bigseg.stages import STEPS
from bigseg.upkeep.jobs import Selection


@dataclass(frozen=True)
class Cleaning:
    """What may go of a sample.

    Attributes:
        sample: its name.
        paths: files and folders, none inside another.
        size: bytes that they take.
        told: markers and ledgers that speak of them, and where these are put away: reports and the provenance of
            results tell how these were made.
    """

    sample: str
    paths: tuple[Path, ...]
    size: int
    told: tuple[tuple[Path, Path], ...]


def plan_cleaning(workflow: Workflow, sample: str) -> Cleaning:
    """What may go: what steps wrote that only later steps read (:attr:`bigseg.stages.step.Step.passing`).

    What results consist of stays, and so does all that a report, a table of objects or scores are made of: a new time
    point computes only itself afterwards. A change of a parameter that needs something that is gone makes it again.

    Raises:
        UserError: the sample is not done.
    """
    Selection(sample=sample).check(workflow)
    jobs = list(Selection(sample=sample).jobs(workflow))
    layout = workflow.plans[sample].layout
    intermediate = [job for job in jobs if job.step.passing]
    lasting = [job for job in jobs if not job.step.passing]
    missing = [job for job in lasting if not workflow.is_done(job.step.name, sample, job.time, job.batch)]
    if missing:
        raise UserError(
            f"samples.{sample}: is not done ({len(missing)} jobs to do, the first of {missing[0].step.name})",
            f"run snakemake first; to start anew, delete the folder {layout.folder} yourself",
        )
    # Of all steps, because another method may have left its tables.
    patterns = dict.fromkeys(pattern for kind in STEPS.values() for pattern in kind.passing)
    present = tuple(path for pattern in patterns for path in sorted(layout.folder.glob(pattern)))
    told = []
    for kind in ("status", "ledger"):  # markers go first, so that whatever happens none vouches for what is gone
        for stage, step in sorted({(job.step.stage, job.step.step) for job in intermediate}):
            for path in sorted((layout.folder / kind / stage).glob(f"*/{step}[-.]*")):
                told.append((path, layout.cleaned / path.relative_to(layout.folder)))
    return Cleaning(sample, present, sum(map(_size, present)), tuple(told))


def clean(cleaning: Cleaning) -> None:
    """Put away what vouches for it, and remove it.

    Raises:
        UserError: something cannot be removed.
    """
    for path, place in cleaning.told:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        except OSError as error:
            raise UserError(f"{path}: cannot be moved ({error.strerror})", "make its folder writable") from error
    for path in cleaning.paths:
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be removed ({error.strerror})", "make its folder writable") from error


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.lstat().st_size for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)
