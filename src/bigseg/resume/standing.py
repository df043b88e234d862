"""Markers by their names: which batches of a step have one, whatever number of batches the configuration asks for now.

Every marker that is there tells the truth about the store: :func:`withdraw` removes it before the first of its blocks
is written anew, also if it was written for another number of batches.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from bigseg.resume.batch_files import batch_files


def standing(folder: Path, step: str) -> dict[range, Path]:
    """The markers of a step's batches in a stage's folder of one time point, by the pieces that each tells of.

    The marker of a step of a single piece is not among them.
    """
    return batch_files(folder, step, ".json")


def standing_for(folder: Path, step: str, pieces: Collection[int]) -> list[Path]:
    """Markers that tell of as many of the pieces as any do, in the order of their pieces; the youngest come first."""
    missing = set(pieces)
    chosen = {}
    markers = standing(folder, step)
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
    for other, path in standing(marker.parent, step).items():
        overlaps = other.start < batch.stop and batch.start < other.stop
        if overlaps or other.stop > number_of_pieces:
            path.unlink(missing_ok=True)
