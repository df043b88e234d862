"""Markers: one small deterministic JSON file per job, the only file that a rule declares as output.

A marker holds no times, hosts or paths: an identical rerun writes identical bytes, and Snakemake, which compares small
files by checksum, then runs nothing downstream.

Every marker that is there tells the truth about the store: :func:`withdraw` removes it before the first of its blocks
is written anew, also if it was written for another number of batches.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bigseg.errors import UserError
from bigseg.resume.batch_files import batch_files
from bigseg.resume.files import write_json


@dataclass(frozen=True)
class Marker:
    """What one job has done.

    Attributes:
        step: ``stage.step``, e.g. ``supervoxels.blocks``.
        time: time point, None for a step over all of them.
        version: version of the stage's code.
        fingerprint: fingerprint of the parameters.
        digests: fingerprint of each piece's output, by piece number.
        empty: pieces that hold nothing (:mod:`bigseg.stages.empty`).
    """

    step: str
    time: int | None
    version: int
    fingerprint: str
    digests: Mapping[int, str]
    empty: Collection[int] = frozenset()

    def write(self, path: Path) -> None:
        """Write the marker whole or not at all."""
        told = {"empty": sorted(self.empty)} if self.empty else {}
        write_json(
            path,
            {
                **told,
                "step": self.step,
                "time": self.time,
                "version": self.version,
                "fingerprint": self.fingerprint,
                "digests": {f"{piece:06d}": self.digests[piece] for piece in sorted(self.digests)},
            },
        )

    @classmethod
    def read(cls, path: Path) -> Marker:
        """Read a marker.

        Raises:
            UserError: the file is missing or is no marker.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            digests = {int(piece): str(digest) for piece, digest in data["digests"].items()}
            time = None if data["time"] is None else int(data["time"])
            empty = frozenset(map(int, data.get("empty", ())))
            return cls(str(data["step"]), time, int(data["version"]), str(data["fingerprint"]), digests, empty)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: is not a marker of bigseg ({error})", "delete this file and run again") from error


def upstream_digests(markers: Iterable[Marker]) -> dict[tuple[str, int | None], dict[int, str]]:
    """The digests in several markers: by step and time point, then by piece."""
    digests: dict[tuple[str, int | None], dict[int, str]] = {}
    for marker in markers:
        digests.setdefault((marker.step, marker.time), {}).update(marker.digests)
    return digests


def upstream_empty(markers: Iterable[Marker]) -> dict[tuple[str, int | None], set[int]]:
    """The pieces that hold nothing in several markers, by step and time point."""
    empty: dict[tuple[str, int | None], set[int]] = {}
    for marker in markers:
        empty.setdefault((marker.step, marker.time), set()).update(marker.empty)
    return empty


def markers_of(folder: Path, step: str) -> dict[range, Path]:
    """The markers of a step's batches in a stage's folder of one time point, by the pieces that each tells of.

    They are known by their names, whatever number of batches the configuration asks for now. The marker of a step of a
    single piece is not among them.
    """
    return batch_files(folder, step, ".json")


def markers_for(folder: Path, step: str, pieces: Collection[int]) -> list[Path]:
    """Markers that tell of as many of the pieces as any do, in the order of their pieces; the youngest come first."""
    missing = set(pieces)
    chosen = {}
    markers = markers_of(folder, step)
    ages = {}
    for batch, path in markers.items():
        with suppress(OSError):  # gone since
            ages[batch] = path.stat().st_mtime_ns
    for batch in sorted(ages, key=lambda batch: (-ages[batch], batch.start, batch.stop)):
        if not missing.isdisjoint(batch):
            chosen[batch] = markers[batch]
            missing.difference_update(batch)
    return [chosen[batch] for batch in sorted(chosen, key=lambda batch: (batch.start, batch.stop))]


def withdraw(marker: Path, step: str, batch: range, number_of_pieces: int) -> None:
    """Remove the markers that will no longer be true when a batch is written: its own, and those of other batches.

    Args:
        marker: path of the batch's own.
        step: name of the step.
        batch: pieces that are about to be written.
        number_of_pieces: how many the step has now; it had others before blocks were given another shape.
    """
    marker.unlink(missing_ok=True)
    for other, path in markers_of(marker.parent, step).items():
        overlaps = other.start < batch.stop and batch.start < other.stop
        if overlaps or other.stop > number_of_pieces:
            path.unlink(missing_ok=True)
