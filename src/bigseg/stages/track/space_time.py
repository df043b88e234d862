"""Method ``volume``: tracks are the components of one graph of all time points."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bigseg.kernels.tracking.as_volume import Contacts, shared_parts, tracks_as_volume
from bigseg.kernels.tracking.overlaps import add_up_overlaps
from bigseg.layout import Layout
from bigseg.stages.step import Parameters
from bigseg.stages.track.tables import POSITION, boundary_of
from bigseg.volumes.tables import Table, read_table


def by_volume(layout: Layout, parameters: Parameters) -> tuple[Table, list[Table]]:
    """The table of tracks (``tracks.parquet``) and for each time point the track of each object of ``segment``."""
    times: list[int] = parameters["times"]
    fragments = [read_table(layout.table("track", "fragments", time)) for time in times]
    contacts = [_contacts(read_table(layout.table("track", "contacts", time))) for time in times]
    voxel = float(np.prod(parameters["voxel_size_um"]))
    ids = [found["id"] for found in fragments]
    sizes = [found["volume_um3"] / voxel for found in fragments]
    overlaps = [
        shared_parts(_overlaps(layout, time, parameters["blocks"]), (ids[t], ids[t + 1]), (sizes[t], sizes[t + 1]))
        for t, time in enumerate(times[1:])
    ]
    settings = parameters["volume"]
    found = tracks_as_volume(ids, contacts, overlaps, settings["beta"], settings["minimum_length"])
    rows = [_rows(time, table, tracks) for time, table, tracks in zip(times, fragments, found.tracks, strict=True)]
    names = [{"id": table["id"], "track": tracks} for table, tracks in zip(fragments, found.tracks, strict=True)]
    return _table(pd.concat(rows, ignore_index=True), found.parent), names


def _contacts(table: Table) -> Contacts:
    return Contacts(table["u"], table["v"], table["count"], boundary_of(table))


def _overlaps(layout: Layout, time: int, blocks: int) -> Table:
    return add_up_overlaps([read_table(layout.table("track", "overlaps", time, block)) for block in range(blocks)])


def _rows(time: int, fragments: Table, tracks: NDArray[np.uint32]) -> pd.DataFrame:
    """One row per track of a time point: its fragments together."""
    frame = pd.DataFrame({**fragments, "track": tracks, "time": np.int32(time)})[tracks > 0]
    for name in POSITION:
        frame[name] *= frame["volume_um3"]
    merged = frame.groupby("track", as_index=False).agg(
        {"time": "first", "id": "min", "volume_um3": "sum", **dict.fromkeys(POSITION, "sum")}
    )
    for name in POSITION:
        merged[name] /= merged["volume_um3"]
    return merged


def _table(rows: pd.DataFrame, parent: NDArray[np.uint32]) -> Table:
    """The table of tracks."""
    track = rows["track"].to_numpy(np.int64)
    span = rows.groupby("track")["time"].agg(["min", "max"])
    generation = np.zeros(len(parent) + 1, np.uint16)
    for number in np.flatnonzero(parent) + 1:  # parents come before their daughters
        generation[number] = generation[parent[number - 1]] + 1
    return {
        "time": rows["time"].to_numpy(np.int32),
        "object": rows["id"].to_numpy(np.uint64),
        "track": track.astype(np.uint32),
        "parent": parent[track - 1],
        "generation": generation[track],
        "start": span["min"].loc[rows["track"]].to_numpy(np.int32),
        "end": span["max"].loc[rows["track"]].to_numpy(np.int32),
        **{name: rows[name].to_numpy(np.float64) for name in (*POSITION, "volume_um3")},
    }
