"""The table of tracks, ``tracks.parquet``: one row per object and time point."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bigseg.errors import UserError
from bigseg.kernels.lineage import Lineage
from bigseg.layout import MADE_AGAIN, TRACKS
from bigseg.volumes.tables import Table, read_table, write_table

COLUMNS: dict[str, str] = {
    "time": "int32",
    "object": "uint64",
    "track": "uint32",
    "parent": "uint32",
    "generation": "uint16",
    "start": "int32",
    "end": "int32",
    "z_um": "float64",
    "y_um": "float64",
    "x_um": "float64",
    "volume_um3": "float64",
}
"""Columns and their types, ascending by (time, track), each pair once.

``object`` is the id in ``labels/segmentation`` at that time point. Tracks are numbered from 1 on without a gap;
``parent`` is the track that one comes from, 0 for none. ``generation`` counts from 0, for tracks without a parent.
``start`` and ``end`` are the first and the last time point of the track. Positions are those of the centre, from the
centre of the volume's first voxel.
"""


def tracks_beside(result: Path) -> Path:
    """Where the table lies that belongs to a result, ``results/<sample>.ome.zarr``."""
    return result.parent / result.name.removesuffix(".zarr").removesuffix(".ome") / TRACKS


def write_tracks(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write a table of tracks whole or not at all.

    Raises:
        ValueError: it is no table of tracks (:func:`check_tracks`).
        UserError: the folder cannot be written.
    """
    check_tracks(columns)
    write_table(path, columns)


def read_tracks(path: Path) -> Table:
    """Read a table of tracks.

    Raises:
        UserError: it is missing, damaged, or no table of tracks.
    """
    if not path.exists():
        raise UserError(
            f"{path}: does not exist",
            "it is written by stage `track`, of movies only; is this one, and the run finished?",
        )
    columns = read_table(path)
    try:
        check_tracks(columns)
    except ValueError as error:
        raise UserError(f"{path}: is no table of tracks ({error})", MADE_AGAIN) from error
    return columns


def check_tracks(columns: Mapping[str, np.ndarray]) -> None:
    """Refuse what is no table of tracks.

    Raises:
        ValueError: a column is missing or of another type, rows are not in order, or contradict each other.
    """
    for name, dtype in COLUMNS.items():
        if name not in columns:
            raise ValueError(f"there is no column {name}")
        if columns[name].dtype != np.dtype(dtype):
            raise ValueError(f"column {name} is {columns[name].dtype}, not {dtype}")
    if extra := set(columns) - set(COLUMNS):
        raise ValueError(f"there is a column {min(extra)}")
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("columns differ in length")
    time, track = columns["time"].astype(np.int64), columns["track"].astype(np.int64)
    later = (time[1:] > time[:-1]) | ((time[1:] == time[:-1]) & (track[1:] > track[:-1]))
    if not later.all():
        row = int(np.flatnonzero(~later)[0]) + 1
        raise ValueError(f"row {row} (time {time[row]}, track {track[row]}) is not after the one before")
    lineage = lineage_of(columns)  # checks starts, ends and parents
    if lineage.number_of_tracks and int(lineage.track[-1]) != lineage.number_of_tracks:
        raise ValueError(f"{lineage.number_of_tracks} tracks are not numbered from 1 on without a gap")
    place = track - 1
    for name in ("parent", "generation", "start", "end"):
        of_track = np.zeros(lineage.number_of_tracks, np.int64)
        of_track[place] = columns[name]
        if (other := np.flatnonzero(of_track[place] != columns[name])).size:
            raise ValueError(f"{name} differs between the rows of track {track[other[0]]}")
        if name == "generation":
            mother = lineage.parent.astype(np.int64) - 1
            expected = np.where(mother >= 0, of_track[mother] + 1, 0)
            if (wrong := np.flatnonzero(of_track != expected)).size:
                raise ValueError(f"the generation of track {wrong[0] + 1} is {of_track[wrong[0]]}")
    for name, found in (("start", np.minimum), ("end", np.maximum)):
        seen = np.full(lineage.number_of_tracks, -1 if name == "end" else np.iinfo(np.int64).max)
        found.at(seen, place, time)
        if (wrong := np.flatnonzero(seen != getattr(lineage, name))).size:
            stated = getattr(lineage, name)[wrong[0]]
            raise ValueError(f"the {name} of track {wrong[0] + 1} is {stated}, and its rows say {seen[wrong[0]]}")


def lineage_of(columns: Mapping[str, np.ndarray]) -> Lineage:
    """The lineage of a table of tracks.

    Raises:
        ValueError: it is none.
    """
    _, first = np.unique(columns["track"], return_index=True)
    return Lineage(*(columns[name][first] for name in ("track", "parent", "start", "end")))
