"""Remove what only later stages read, once a sample is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bigseg.errors import UserError
from bigseg.planning.workflow import Workflow
from bigseg.resume.digest import digest_json
from bigseg.resume.marker import Marker
from bigseg.upkeep.jobs import Job, Selection

_OF_TRACK = ("drift.json", "overlaps-*", "contacts-*")
"""What may go of stage track: a new time point is linked to the one before by what the rest tells of that."""

_KEPT_OF_PARTITION = "quality.json"
"""What the report reads, also when other time points come later."""


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
    """What may go: maps, supervoxels, and the tables of supervoxels, graph, partition, segment and blocks in time.

    What results consist of stays, and so does all that a report, a table of objects or scores are made of: a new time
    point computes only itself afterwards. A change of a parameter that needs something that is gone makes it again.

    Raises:
        UserError: the sample is not done.
    """
    Selection(sample=sample).check(workflow)
    jobs = list(Selection(sample=sample).jobs(workflow))
    layout = workflow.plans[sample].layout
    intermediate = [job for job in jobs if job.step.passing]
    missing = [job for job in jobs if not job.step.passing and not _is_done(job)]
    if missing:
        raise UserError(
            f"samples.{sample}: is not done ({len(missing)} jobs to do, the first of {missing[0].step.name})",
            f"run snakemake first; to start anew, delete the folder {layout.folder} yourself",
        )
    found = [layout.boundary_map.parent, layout.supervoxels.parent]
    for stage in ("supervoxels", "graph", "partition", "segment"):
        found += [path for path in sorted(layout.folder.glob(f"{stage}/*/*")) if path.name != _KEPT_OF_PARTITION]
    for pattern in _OF_TRACK:
        found += sorted(layout.folder.glob(f"track/*/{pattern}"))
    present = tuple(path for path in found if path.exists())
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


def _is_done(job: Job) -> bool:
    try:
        marker = Marker.read(job.marker)
    except UserError:
        return False
    return (marker.version, marker.fingerprint) == (job.step.version, digest_json(job.step.dependence))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.lstat().st_size for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)
