"""Tracks as the Cell Tracking Challenge has them: a text file of the lineage, and a label image per time point.

In a folder of results these are ``res_track.txt`` and ``mask000.tif``, ``mask001.tif`` …; in one of a truth
``man_track.txt`` and ``man_track000.tif`` …. A line of the text is L B E P: label, first and last time point, label of
the parent or 0. Labels are uint16, and a track is there at all time points from B to E.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.resume.files import replacing_folder

if TYPE_CHECKING:
    import numpy as np

    from bigseg.kernels.lineage import Lineage
    from bigseg.volumes.source import Source

LARGEST_LABEL = 65_535
_NAMES = {"res_track.txt": "mask", "man_track.txt": "man_track"}
_SLAB_VOXELS = 1 << 24


def find_folder(folder: Path) -> tuple[Path, str] | None:
    """The lineage of a folder of the challenge, and the pattern of its label images.

    Returns:
        None where ``folder`` is no such folder.
    """
    for text, masks in _NAMES.items():
        if (folder / text).is_file():
            return folder / text, str(folder / f"{masks}{{t}}.tif")
    return None


def check_lineage_file(path: Path, key: str) -> None:
    """Refuse, for the start, what is no lineage file; only the beginning is read.

    Args:
        path: of the file.
        key: that names it, for messages.

    Raises:
        UserError: it is missing, or its first line is none of a lineage.
    """
    for number, line in _lines(path, key):
        _numbers(path, number, line)
        return


def read_lineage(path: Path, key: str = "lineage") -> Lineage:
    """The lineage of a text file of the challenge.

    Args:
        path: of the file; empty lines do not count.
        key: that names it, for messages.

    Raises:
        UserError: it is missing, a line is none of a lineage, or tracks contradict each other.
    """
    import numpy as np

    from bigseg.kernels.lineage import Lineage

    rows = [_numbers(path, number, line) for number, line in _lines(path, key)]
    label, begin, end, parent = np.array(rows, np.int64).reshape(-1, 4).T
    try:
        return Lineage(label.astype(np.uint64), parent.astype(np.uint64), begin, end)
    except ValueError as error:
        raise UserError(
            f"{path}: {error}", "lines are L B E P: label, first and last time point, parent or 0"
        ) from error


def lineage_text(lineage: Lineage) -> str:
    """The text file of a lineage."""
    columns = (lineage.track, lineage.start, lineage.end, lineage.parent)
    return "".join(f"{i} {b} {e} {p}\n" for i, b, e, p in zip(*columns, strict=True))


def write_folder(folder: Path, columns: Mapping[str, np.ndarray], labels: Source | None, *, overwrite: bool) -> int:
    """Write ``res_track.txt`` and, where labels are given, the label images, whole or not at all.

    Memory is that of a slab of planes.

    Args:
        folder: to write; it is made.
        columns: a table of tracks.
        labels: (t, z, y, x) labels, which are tracks.
        overwrite: whether an existing folder of the challenge is replaced.

    Returns:
        The number of tracks.

    Raises:
        UserError: the folder exists, the format cannot hold the tracks, or it cannot be written.
    """
    from bigseg.tracks.table import lineage_of

    lineage = lineage_of(columns)
    if labels is not None:
        _check_fits(columns, lineage)
    if folder.exists() and not (overwrite and (find_folder(folder) or not any(folder.iterdir()))):
        remedy = "choose another name" if overwrite else "choose another name, or give --overwrite"
        raise UserError(f"{folder}: exists already{' and is no such folder' if overwrite else ''}", remedy)
    with replacing_folder(folder) as temporary:
        temporary.mkdir()
        (temporary / "res_track.txt").write_text(lineage_text(lineage), encoding="ascii")
        if labels is not None:
            _write_masks(temporary, labels, lineage.number_of_tracks)
    return lineage.number_of_tracks


def _check_fits(columns: Mapping[str, np.ndarray], lineage: Lineage) -> None:
    """Refuse tracks that the label images cannot hold."""
    import numpy as np

    if lineage.number_of_tracks and int(lineage.track[-1]) > LARGEST_LABEL:
        raise UserError(
            f"there are tracks up to {lineage.track[-1]}, and the format holds labels up to {LARGEST_LABEL}",
            "export them with --format geff, which has no limit, or --without-masks",
        )
    seen = np.bincount(lineage.rows(columns["track"].astype(np.uint64)), minlength=lineage.number_of_tracks)
    if (gaps := np.flatnonzero(seen != lineage.end - lineage.start + 1)).size:
        row = gaps[0]
        raise UserError(
            f"track {lineage.track[row]} is at {seen[row]} of the time points {lineage.start[row]} to "
            f"{lineage.end[row]}, and the format has tracks without gaps ({gaps.size} have some)",
            "export them with --format geff, which has gaps, or --without-masks; or track without gaps",
        )


def _write_masks(folder: Path, labels: Source, tracks: int) -> None:
    """Write the label images; labels are 0 (none) to ``tracks``."""
    import numpy as np
    import tifffile

    from bigseg.geometry.box import Box
    from bigseg.progress import Progress

    depth, height, width = labels.header.volume_shape
    times = labels.header.number_of_times
    digits = max(3, len(str(times - 1)))
    step = max(1, _SLAB_VOXELS // (height * width))
    with Progress(times * -(-depth // step), "writing") as progress:

        def planes(time: int) -> Iterator[np.ndarray]:
            for begin in range(0, depth, step):
                box = Box((begin, 0, 0), (min(begin + step, depth), height, width))
                voxels = labels.read(time, 0, box)
                if (largest := int(voxels.max())) > tracks:
                    raise UserError(
                        f"the labels of time point {time} hold track {largest}, and the table has {tracks} tracks",
                        "both are written by stage `track`: run snakemake to its end",
                    )
                progress.done(box.size)  # before: nobody asks on after the last plane
                yield from voxels.astype(np.uint16)

        shape = (depth, height, width) if depth > 1 else (height, width)
        for time in range(times):
            tifffile.imwrite(
                folder / f"mask{time:0{digits}d}.tif",
                planes(time),
                shape=shape,
                dtype=np.uint16,
                compression="zlib",
                photometric="minisblack",
                bigtiff=depth * height * width * 2 >= 1 << 32,
            )


def _lines(path: Path, key: str) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not empty, with their numbers."""
    try:
        with path.open(encoding="ascii") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read ({error.strerror})", "correct the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{key}: {path} is no text file", "give the file with lines of L B E P") from error


def _numbers(path: Path, number: int, line: str) -> tuple[int, int, int, int]:
    if not re.fullmatch(r"\s*\d+(\s+\d+){3}\s*", line):
        raise UserError(
            f"{path}: line {number} is {line.strip()[:60]!r}",
            "lines are L B E P, four whole numbers: label, first and last time point, parent or 0",
        )
    label, begin, end, parent = (int(part) for part in line.split())
    return label, begin, end, parent
